//! Eight lanes as AVX2 registers with fused multiply-add.

use core::arch::x86_64::*;

use super::lanes::{LANES, Lanes};
use super::{Tables, groups, search};

cpufeatures::new!(has_avx2_and_fma, "avx2", "fma");

/// Proof that this processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        has_avx2_and_fma::get().then_some(Self(()))
    }

    pub(super) fn encode(self, tables: Tables<'_>, y: &[f32], codes: &mut [u16]) {
        // SAFETY: an `Avx2` exists only where the processor has the two features.
        unsafe { encode(self, tables, y, codes) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn encode(avx2: Avx2, tables: Tables<'_>, y: &[f32], codes: &mut [u16]) {
    for (group, place) in groups(tables) {
        search::encode(avx2, group, place, y, codes);
    }
}

// SAFETY, of every block below: an `Avx2` exists only where the processor has AVX2 and FMA.
impl Lanes for Avx2 {
    type Floats = __m256;
    type Indices = __m256i;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m256 {
        // SAFETY: as above; the eight floats read are those of the array, in any alignment.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, from: __m256) -> [f32; LANES] {
        let mut to = [0.0; LANES];
        // SAFETY: as above; the eight floats written are those of the array, in any alignment.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), from) };
        to
    }

    #[inline(always)]
    fn splat_index(self, value: u32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set1_epi32(value.cast_signed()) }
    }

    #[inline(always)]
    fn store_indices(self, from: __m256i) -> [u32; LANES] {
        let mut to = [0_u32; LANES];
        // SAFETY: as above; the 32 bytes written are those of the array, in any alignment.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), from) };
        to
    }

    #[inline(always)]
    fn sub_mul(self, sum: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fnmadd_ps(a, b, sum) }
    }

    #[inline(always)]
    fn lower(self, score: __m256, best: __m256) -> __m256 {
        // The instruction returns its second operand where the first is not less.
        // SAFETY: as above.
        unsafe { _mm256_min_ps(score, best) }
    }

    #[inline(always)]
    fn note(self, now: __m256, before: __m256, index: __m256i, old: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let less = _mm256_cmp_ps::<_CMP_LT_OQ>(now, before);
            let (old, index) = (_mm256_castsi256_ps(old), _mm256_castsi256_ps(index));
            _mm256_castps_si256(_mm256_blendv_ps(old, index, less))
        }
    }

    #[inline(always)]
    fn lowest(self, best: __m256, at: __m256i) -> (f32, u32) {
        // SAFETY: as above.
        unsafe {
            let half = _mm_min_ps(
                _mm256_castps256_ps128(best),
                _mm256_extractf128_ps::<1>(best),
            );
            let pair = _mm_min_ps(half, _mm_movehl_ps(half, half));
            let lowest = _mm_min_ss(pair, _mm_movehdup_ps(pair));
            let held = _mm256_cmp_ps::<_CMP_EQ_OQ>(best, _mm256_broadcastss_ps(lowest));
            // An index in the lanes that hold the lowest, all ones in the others.
            let at = _mm256_or_si256(at, not(_mm256_castps_si256(held)));
            let half = _mm_min_epu32(
                _mm256_castsi256_si128(at),
                _mm256_extracti128_si256::<1>(at),
            );
            let pair = _mm_min_epu32(half, _mm_shuffle_epi32::<0b_01_00_11_10>(half));
            let least = _mm_min_epu32(pair, _mm_shuffle_epi32::<0b_10_11_00_01>(pair));
            (
                _mm_cvtss_f32(lowest),
                _mm_cvtsi128_si32(least).cast_unsigned(),
            )
        }
    }

    #[inline(always)]
    fn equal(self, lanes: __m256, value: f32) -> u32 {
        // SAFETY: as above.
        unsafe {
            let equal = _mm256_cmp_ps::<_CMP_EQ_OQ>(lanes, _mm256_set1_ps(value));
            _mm256_movemask_ps(equal).cast_unsigned()
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn not(mask: __m256i) -> __m256i {
    _mm256_xor_si256(mask, _mm256_set1_epi32(-1))
}
