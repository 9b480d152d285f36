//! Encode against a slow model in double precision, on shapes of every kind.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use astra_codec::{Codebook, half_norms, word_major};
use proptest::prelude::*;

#[derive(Debug)]
struct Case {
    dims: Vec<u16>,
    words: usize,
    tokens: usize,
    dim_major: Vec<f32>,
    y: Vec<f32>,
}

/// A codebook and tokens of `number`.
fn case<S>(number: S) -> impl Strategy<Value = Case>
where
    S: Strategy<Value = f32> + Clone,
{
    let few = prop::collection::vec(1_u16..=12, 1..6);
    let dims = prop_oneof![4 => few, 1 => prop::collection::vec(1_u16..=40, 1..4)];
    let tokens = prop::sample::select(vec![0_usize, 1, 3, 5, 16, 64, 65]);
    let words = (1_u32..=10).prop_map(|bits| 1_usize << bits);
    (dims, words, tokens).prop_flat_map(move |(dims, words, tokens)| {
        let rank = rank(&dims);
        let dim_major = prop::collection::vec(number.clone(), rank * words);
        let y = prop::collection::vec(number.clone(), rank * tokens);
        (dim_major, y).prop_map(move |(dim_major, y)| Case {
            dims: dims.clone(),
            words,
            tokens,
            dim_major,
            y,
        })
    })
}

fn rank(dims: &[u16]) -> usize {
    dims.iter().map(|&dim| usize::from(dim)).sum()
}

struct Tables {
    word_major: Vec<f32>,
    half_norms: Vec<f32>,
}

impl Case {
    fn tables(&self) -> Tables {
        let mut turned = vec![f32::NAN; self.dim_major.len()];
        word_major(&self.dims, self.words, &self.dim_major, &mut turned).unwrap();
        let mut norms = vec![f32::NAN; self.dims.len() * self.words];
        half_norms(&self.dims, self.words, &self.dim_major, &mut norms).unwrap();
        Tables {
            word_major: turned,
            half_norms: norms,
        }
    }

    fn codebook<'a>(&'a self, tables: &'a Tables) -> Codebook<'a> {
        let Tables {
            word_major,
            half_norms,
        } = tables;
        Codebook::new(
            &self.dims,
            self.words,
            &self.dim_major,
            word_major,
            half_norms,
        )
        .unwrap()
    }

    /// Codes in range, without order.
    fn codes(&self, seed: usize) -> Vec<u16> {
        let codes = 0..self.tokens * self.dims.len();
        codes
            .map(|i| (seed.wrapping_add(i * i * 31) % self.words) as u16)
            .collect()
    }

    fn encode(&self) -> Vec<u16> {
        let mut codes = vec![0xa5a5; self.tokens * self.dims.len()];
        let tables = self.tables();
        self.codebook(&tables).encode(&self.y, &mut codes).unwrap();
        codes
    }

    /// Squared distance of a token to every word of a group.
    fn distances(&self, token: usize, group: usize) -> Vec<f64> {
        let first = rank(&self.dims[..group]);
        let axes = first..first + usize::from(self.dims[group]);
        let distance = |word| {
            let apart = |axis: usize| {
                let y = self.y[token * rank(&self.dims) + axis];
                f64::from(y) - f64::from(self.dim_major[axis * self.words + word])
            };
            axes.clone().map(|axis| apart(axis).powi(2)).sum()
        };
        (0..self.words).map(distance).collect()
    }

    /// Every code with the distances it was chosen by.
    fn chosen(&self) -> impl Iterator<Item = (usize, Vec<f64>)> {
        let groups = self.dims.len();
        let codes = self.encode().into_iter().enumerate();
        codes.map(move |(i, code)| (usize::from(code), self.distances(i / groups, i % groups)))
    }
}

fn lowest(distances: &[f64]) -> f64 {
    distances.iter().copied().fold(f64::INFINITY, f64::min)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_word_is_nearer(case in case(-2.0_f32..2.0)) {
        for (code, distances) in case.chosen() {
            // Scores are sums of at most 40 products of numbers below 2: at most 80, in single precision.
            let rounding = 1e-5 * lowest(&distances) + 80.0 * f64::from(f32::EPSILON);
            prop_assert!(distances[code] <= lowest(&distances) + rounding);
        }
    }

    /// Small whole numbers: every sum is exact, so the choice must be too, and ties abound.
    #[test]
    fn first_of_the_nearest(case in case((-3_i8..=3).prop_map(f32::from))) {
        for (code, distances) in case.chosen() {
            let least = lowest(&distances);
            let first = distances.iter().position(|&distance| distance == least);
            prop_assert_eq!(Some(code), first);
        }
    }

    /// Whole numbers, so that the distance between two words never rounds to nothing.
    #[test]
    fn a_codeword_comes_back_as_itself(
        case in case((-99_i8..=99).prop_map(f32::from)),
        seed in any::<usize>(),
    ) {
        let tables = case.tables();
        let codebook = case.codebook(&tables);
        let mut y = vec![f32::NAN; case.y.len()];
        codebook.decode(&case.codes(seed), &mut y).unwrap();
        let mut codes = vec![0xa5a5; case.tokens * case.dims.len()];
        codebook.encode(&y, &mut codes).unwrap();
        let mut again = vec![f32::NAN; y.len()];
        codebook.decode(&codes, &mut again).unwrap();
        prop_assert_eq!(y, again);
    }

    #[test]
    fn decode_gathers_codewords(case in case(-2.0_f32..2.0), seed in any::<usize>()) {
        let tables = case.tables();
        let groups = case.dims.len();
        let codes = case.codes(seed);
        let mut y = vec![f32::NAN; case.y.len()];
        case.codebook(&tables).decode(&codes, &mut y).unwrap();
        let mut y = y.into_iter();
        for codes in codes.chunks(groups) {
            let mut axis = 0;
            for (&dim, &code) in case.dims.iter().zip(codes) {
                for _ in 0..dim {
                    let expected = case.dim_major[axis * case.words + usize::from(code)];
                    prop_assert_eq!(y.next(), Some(expected));
                    axis += 1;
                }
            }
        }
    }

    /// Whatever the numbers, codes are in range; a token with a NaN in a group gets code 0 there.
    #[test]
    fn numbers_out_of_range(case in case(prop::num::f32::ANY)) {
        let groups = case.dims.len();
        for (i, code) in case.encode().into_iter().enumerate() {
            prop_assert!(usize::from(code) < case.words);
            let first = i / groups * rank(&case.dims) + rank(&case.dims[..i % groups]);
            let axes = &case.y[first..first + usize::from(case.dims[i % groups])];
            prop_assert!(code == 0 || !axes.iter().any(|y| y.is_nan()));
        }
    }
}
