//! Residuals, the choice of refined tokens and the sum of two stages, against slow models.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use astra_codec::{Codebook, LengthError, half_norms, largest, word_major};
use proptest::prelude::*;

/// The order in which tokens are refined, by sorting all.
fn order(errors: &[f32]) -> Vec<u16> {
    let mut order = (0..errors.len()).map(|at| at as u16).collect::<Vec<_>>();
    let error = |at: &u16| errors[usize::from(*at)];
    order.sort_by(|a, b| match (error(a), error(b)) {
        (x, y) if x.is_nan() || y.is_nan() => x.is_nan().cmp(&y.is_nan()),
        (x, y) => y.partial_cmp(&x).unwrap(),
    });
    order
}

fn chosen(errors: &[f32], count: usize) -> Vec<u16> {
    let mut positions = vec![0xa5a5; count];
    let mut scratch = vec![0xa5a5; errors.len()];
    largest(errors, &mut scratch, &mut positions).unwrap();
    positions
}

/// Squared lengths, with ties, infinities and NaN, and numbers of any kind.
fn errors() -> impl Strategy<Value = Vec<f32>> {
    let tie = (0_u8..4).prop_map(f32::from);
    let special = prop::sample::select(vec![
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
    ]);
    let error = prop_oneof![4 => 0.0_f32..9.0, 2 => tie, 1 => special, 1 => prop::num::f32::ANY];
    prop::collection::vec(error, 0..100)
}

/// A codebook of whole numbers, on which all sums are exact.
struct Book {
    dims: Vec<u16>,
    words: usize,
    tables: [Vec<f32>; 3],
}

impl Book {
    fn new(dims: &[u16], words: usize, seed: u32) -> Self {
        let rank = dims.iter().map(|&dim| usize::from(dim)).sum::<usize>();
        let mut state = seed;
        let mut number = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32 - 128.0
        };
        let dim_major = (0..rank * words).map(|_| number()).collect::<Vec<_>>();
        let (mut turned, mut norms) = (vec![0.0; rank * words], vec![0.0; dims.len() * words]);
        word_major(dims, words, &dim_major, &mut turned).unwrap();
        half_norms(dims, words, &dim_major, &mut norms).unwrap();
        Self {
            dims: dims.to_vec(),
            words,
            tables: [dim_major, turned, norms],
        }
    }

    fn borrow(&self) -> Codebook<'_> {
        let [dim_major, word_major, norms] = &self.tables;
        Codebook::new(&self.dims, self.words, dim_major, word_major, norms).unwrap()
    }
}

fn squares(y: &[f32]) -> f64 {
    y.iter().map(|&y| f64::from(y).powi(2)).sum()
}

proptest! {
    #[test]
    fn largest_are_the_first_of_all_in_order(errors in errors(), share in 0.0_f64..=1.0) {
        for count in [0, (errors.len() as f64 * share) as usize, errors.len()] {
            let mut expected = order(&errors)[..count].to_vec();
            expected.sort_unstable();
            prop_assert_eq!(chosen(&errors, count), expected, "{} of {:?}", count, errors);
        }
    }

    #[test]
    fn a_residual_is_the_difference_to_what_is_decoded(
        dims in prop::collection::vec(1_u16..=14, 1..6),
        tokens in 0_usize..9,
        seed in any::<u32>(),
    ) {
        let book = Book::new(&dims, 16, seed);
        let book = book.borrow();
        let y = (0..tokens * book.rank())
            .map(|i| (seed.wrapping_add(i as u32).wrapping_mul(2_654_435_761) >> 25) as f32)
            .collect::<Vec<_>>();
        let mut codes = vec![0; tokens * book.groups()];
        book.encode(&y, &mut codes).unwrap();
        // Bits that are not sent do not count.
        codes.iter_mut().for_each(|code| *code |= 0xa5a0);
        let mut decoded = vec![f32::NAN; y.len()];
        book.decode(&codes, &mut decoded).unwrap();
        let (mut rest, mut errors) = (y.clone(), vec![f32::NAN; tokens]);
        book.residual(&codes, &mut rest, &mut errors).unwrap();
        let expected = y.iter().zip(&decoded).map(|(y, z)| y - z).collect::<Vec<_>>();
        prop_assert_eq!(&rest, &expected);
        for (error, row) in errors.iter().zip(rest.chunks(book.rank())) {
            prop_assert_eq!(f64::from(*error), squares(row));
        }
    }

    #[test]
    fn adding_a_token_is_the_sum_of_both_stages(
        first in prop::collection::vec(1_u16..=14, 1..6),
        seed in any::<u32>(),
    ) {
        let first = Book::new(&first, 16, seed);
        let first = first.borrow();
        let second = vec![1; first.rank()];
        let second = Book::new(&second, 256, !seed);
        let second = second.borrow();
        let code = |i: usize| seed.wrapping_add(i as u32).wrapping_mul(2_654_435_761) >> 9;
        let (mut z, mut added) = (vec![f32::NAN; first.rank()], vec![f32::NAN; first.rank()]);
        first.decode_token((0..first.groups()).map(code), &mut z).unwrap();
        second.decode_token((0..second.groups()).map(code), &mut added).unwrap();
        let expected = z.iter().zip(&added).map(|(z, a)| z + a).collect::<Vec<_>>();
        let mut codes = (0..second.groups() + 1).map(code);
        second.add_token(&mut codes, &mut z).unwrap();
        prop_assert_eq!(z, expected);
        prop_assert_eq!(codes.next(), Some(code(second.groups())));
    }
}

#[test]
fn by_hand() {
    let errors = [1.0, f32::NAN, 3.0, 3.0, -0.0, 0.0, f32::INFINITY, 2.0];
    assert_eq!(chosen(&errors, 0), []);
    assert_eq!(chosen(&errors, 1), [6]);
    assert_eq!(chosen(&errors, 2), [2, 6]);
    assert_eq!(chosen(&errors, 3), [2, 3, 6]);
    assert_eq!(chosen(&errors, 5), [0, 2, 3, 6, 7]);
    assert_eq!(chosen(&errors, 6), [0, 2, 3, 4, 6, 7]);
    assert_eq!(chosen(&errors, 7), [0, 2, 3, 4, 5, 6, 7]);
    assert_eq!(chosen(&errors, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(chosen(&[f32::NAN, f32::NAN, f32::NEG_INFINITY], 2), [0, 2]);
    assert_eq!(chosen(&[], 0), []);
}

#[test]
fn as_many_errors_as_there_are_positions() {
    let mut errors = vec![0.0; 1 << 16];
    errors[65_535] = 1.0;
    assert_eq!(chosen(&errors, 2), [0, 65_535]);
    let mut scratch = vec![0; (1 << 16) + 1];
    errors.push(0.0);
    let error = LengthError::Buffer {
        buffer: "errors",
        found: 65_537,
        expected: 65_536,
    };
    assert_eq!(largest(&errors, &mut scratch, &mut []), Err(error));
}

#[test]
fn buffers_that_do_not_fit() {
    let length = |buffer, found, expected| LengthError::Buffer {
        buffer,
        found,
        expected,
    };
    let mut positions = [0xa5a5; 4];
    for found in [2, 4] {
        let refused = largest(&[1.0; 3], &mut [0; 4][..found], &mut positions[..1]);
        assert_eq!(refused, Err(length("scratch", found, 3)));
    }
    let refused = largest(&[1.0; 3], &mut [0; 3], &mut positions);
    assert_eq!(refused, Err(length("positions", 4, 3)));
    assert_eq!(positions, [0xa5a5; 4]);

    let book = Book::new(&[1, 2], 4, 1);
    let book = book.borrow();
    let (mut y, mut errors) = ([0.5; 6], [0.5; 3]);
    for found in [1, 3] {
        let refused = book.residual(&[0; 4], &mut y, &mut errors[..found]);
        assert_eq!(refused, Err(length("errors", found, 2)));
    }
    let refused = book.residual(&[0; 2], &mut y, &mut errors[..2]);
    assert_eq!(refused, Err(LengthError::Tokens { y: 2, codes: 1 }));
    let partial = LengthError::PartialToken {
        buffer: "y",
        found: 5,
        per_token: 3,
    };
    let refused = book.residual(&[0; 4], &mut y[..5], &mut errors[..2]);
    assert_eq!(refused, Err(partial));
    let one = LengthError::OneToken {
        found: 6,
        expected: 3,
    };
    assert_eq!(book.add_token([0, 0], &mut y), Err(one));
    assert_eq!((y, errors), ([0.5; 6], [0.5; 3]));
    assert_eq!(
        length("scratch", 2, 3).to_string(),
        "scratch: found 2 entries, expected 3"
    );
}
