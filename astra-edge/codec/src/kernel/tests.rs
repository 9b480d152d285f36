//! Every path of this host against the scalar one, to the bit.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::{Tables, encode_portable, encode_scalar, scalar};
use crate::prepare::{half_norms, word_major};

/// A group size on each side of every choice the kernels make, with neighbours of other sizes.
const DIMS: [u16; 17] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 24, 33, 40];
const TOKENS: [usize; 11] = [0, 1, 3, 4, 5, 15, 16, 17, 31, 64, 65];
const WORDS: [usize; 4] = [16, 32, 256, 1024];

struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        let Self(state) = self;
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn vector(&mut self, len: usize, mut of: impl FnMut(f32) -> f32) -> Vec<f32> {
        (0..len).map(|_| of(self.next())).collect()
    }
}

type Path = fn(Tables<'_>, &[f32], &mut [u16]);

/// Every vectorised path beside the scalar one that rounds as it does.
fn paths() -> Vec<(&'static str, Path, Path)> {
    let rounded: Path = |tables, y, codes| encode_scalar(tables, y, codes, scalar::round_twice);
    let fused: Path =
        |tables, y, codes| encode_scalar(tables, y, codes, |sum, a, b| (-a).mul_add(b, sum));
    #[allow(unused_mut, reason = "only some targets have a second path")]
    let mut paths = vec![("portable", encode_portable as Path, rounded)];
    #[cfg(target_arch = "x86_64")]
    if super::avx2::Avx2::detect().is_some() {
        let avx2: Path = |tables, y, codes| {
            super::avx2::Avx2::detect()
                .unwrap()
                .encode(tables, y, codes);
        };
        paths.push(("avx2", avx2, fused));
    }
    let _ = fused;
    paths
}

fn compare(words: usize, tokens: usize, dim_major: &[f32], y: &[f32]) {
    let rank = DIMS.iter().map(|&dim| usize::from(dim)).sum();
    let mut turned = vec![0.0; rank * words];
    word_major(&DIMS, words, dim_major, &mut turned).unwrap();
    let mut norms = vec![0.0; DIMS.len() * words];
    half_norms(&DIMS, words, dim_major, &mut norms).unwrap();
    let tables = Tables {
        dims: &DIMS,
        words,
        rank,
        dim_major,
        word_major: &turned,
        half_norms: &norms,
    };
    for (name, path, model) in paths() {
        let mut expected = vec![0; tokens * DIMS.len()];
        model(tables, y, &mut expected);
        let mut found = vec![0xa5a5; tokens * DIMS.len()];
        path(tables, y, &mut found);
        assert_eq!(found, expected, "{name}, {words} words, {tokens} tokens");
    }
}

fn compare_all(mut word: impl FnMut(f32) -> f32, mut axis: impl FnMut(f32) -> f32) {
    let rank = DIMS.iter().map(|&dim| usize::from(dim)).sum::<usize>();
    let mut random = Random(1);
    for words in WORDS {
        let dim_major = random.vector(rank * words, &mut word);
        for tokens in TOKENS {
            let y = random.vector(tokens * rank, &mut axis);
            compare(words, tokens, &dim_major, &y);
        }
    }
}

#[test]
fn random_numbers() {
    compare_all(|x| x, |x| 1.5 * x);
}

/// On so coarse a grid most tokens have several nearest words: the lowest index must win.
#[test]
fn ties() {
    compare_all(f32::round, |x| (2.0 * x).round() / 2.0);
}

#[test]
fn equal_words_everywhere() {
    compare_all(|_| 0.25, |x| x);
}

/// Scores of NaN and of both infinities, in all mixtures.
#[test]
fn numbers_out_of_range() {
    let special = |x: f32| match (x * 40.0) as i32 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        3 => f32::MAX,
        4 => -0.0,
        5 => f32::MIN_POSITIVE / 2.0,
        _ => x,
    };
    compare_all(|x| x, special);
    compare_all(special, |x| x);
    compare_all(special, special);
}
