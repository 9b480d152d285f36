//! Eight lanes as arrays, which the compiler vectorises for the target it builds for.

use super::lanes::{LANES, Lanes};

#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Lanes for Portable {
    type Floats = [f32; LANES];
    type Indices = [u32; LANES];

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; LANES] {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> [f32; LANES] {
        *from
    }

    #[inline(always)]
    fn store(self, from: [f32; LANES]) -> [f32; LANES] {
        from
    }

    #[inline(always)]
    fn splat_index(self, value: u32) -> [u32; LANES] {
        [value; LANES]
    }

    #[inline(always)]
    fn store_indices(self, from: [u32; LANES]) -> [u32; LANES] {
        from
    }

    #[inline(always)]
    fn sub_mul(self, mut sum: [f32; LANES], a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        for (sum, (a, b)) in sum.iter_mut().zip(a.iter().zip(&b)) {
            *sum -= a * b;
        }
        sum
    }

    #[inline(always)]
    fn lower(self, score: [f32; LANES], mut best: [f32; LANES]) -> [f32; LANES] {
        for (best, &score) in best.iter_mut().zip(&score) {
            *best = if score < *best { score } else { *best };
        }
        best
    }

    #[inline(always)]
    fn note(
        self,
        now: [f32; LANES],
        before: [f32; LANES],
        index: [u32; LANES],
        mut old: [u32; LANES],
    ) -> [u32; LANES] {
        let lanes = old.iter_mut().zip(&index);
        for ((old, &index), (now, before)) in lanes.zip(now.iter().zip(&before)) {
            *old = if now < before { index } else { *old };
        }
        old
    }

    #[inline(always)]
    fn lowest(self, best: [f32; LANES], at: [u32; LANES]) -> (f32, u32) {
        let lowest = best.into_iter().fold(f32::INFINITY, f32::min);
        let held = best.into_iter().zip(at).filter(|&(best, _)| best == lowest);
        (lowest, held.fold(u32::MAX, |least, (_, at)| least.min(at)))
    }

    #[inline(always)]
    fn equal(self, lanes: [f32; LANES], value: f32) -> u32 {
        let bits = lanes.into_iter().enumerate();
        bits.fold(0, |bits, (i, lane)| bits | u32::from(lane == value) << i)
    }
}
