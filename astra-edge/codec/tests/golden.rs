//! Numbers small enough to check by hand, and the exact errors.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use astra_codec::{Codebook, CodebookError, LengthError, half_norms, largest, word_major};

/// Two groups of four words: one axis at 0, 1, 2, 3, and two axes at the corners of a square.
const DIMS: [u16; 2] = [1, 2];
const DIM_MAJOR: [f32; 12] = [
    0.0, 1.0, 2.0, 3.0, // group 0
    -1.0, 1.0, -1.0, 1.0, // group 1, first axis
    -1.0, -1.0, 1.0, 1.0, // group 1, second axis
];
const WORD_MAJOR: [f32; 12] = [
    0.0, 1.0, 2.0, 3.0, // group 0
    -1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, 1.0, // group 1
];
const HALF_NORMS: [f32; 8] = [0.0, 0.5, 2.0, 4.5, 1.0, 1.0, 1.0, 1.0];

fn codebook() -> Codebook<'static> {
    Codebook::new(&DIMS, 4, &DIM_MAJOR, &WORD_MAJOR, &HALF_NORMS).unwrap()
}

#[test]
fn tables_derived_from_the_codewords() {
    let mut turned = [f32::NAN; 12];
    word_major(&DIMS, 4, &DIM_MAJOR, &mut turned).unwrap();
    assert_eq!(turned, WORD_MAJOR);
    let mut norms = [f32::NAN; 8];
    half_norms(&DIMS, 4, &DIM_MAJOR, &mut norms).unwrap();
    assert_eq!(norms, HALF_NORMS);
}

#[test]
fn shape() {
    let codebook = codebook();
    assert_eq!(codebook.dims(), [1, 2]);
    assert_eq!((codebook.groups(), codebook.rank()), (2, 3));
    assert_eq!((codebook.words(), codebook.code_bits()), (4, 2));
}

#[test]
fn encode() {
    let y = [
        0.4, -9.0, -0.1, // nearest 0, and (-1, -1)
        0.6, 0.2, -0.1, // nearest 1, and (1, -1)
        1.5, -0.2, 3.0, // as near to 1 as to 2: the lower; (-1, 1)
        99.0, 0.0, 0.0, // nearest 3; as near to all corners: the first
    ];
    let mut codes = [0xa5a5; 8];
    codebook().encode(&y, &mut codes).unwrap();
    assert_eq!(codes, [0, 0, 1, 1, 1, 2, 3, 0]);
}

#[test]
fn decode() {
    let mut y = [f32::NAN; 6];
    codebook().decode(&[3, 2, 0, 1], &mut y).unwrap();
    assert_eq!(y, [3.0, -1.0, 1.0, 0.0, 1.0, -1.0]);
}

/// The two tokens furthest from their words are coded again by words half a step apart, and added.
#[test]
fn two_stages() {
    let mut y = [
        0.25, -1.0, -1.0, // 0 and (-1, -1): 0.25 left of group 0
        3.5, 1.0, 1.0, // 3 and (1, 1): 0.5 left of group 0
        2.0, 1.0, 1.0, // nothing left
        1.0, -0.5, 1.5, // 1 and (-1, 1): (0.5, 0.5) left of group 1
    ];
    let codes = [0, 0, 3, 3, 2, 3, 1, 2];
    let mut found = [0xa5a5; 8];
    codebook().encode(&y, &mut found).unwrap();
    assert_eq!(found, codes);
    let mut errors = [f32::NAN; 4];
    codebook().residual(&codes, &mut y, &mut errors).unwrap();
    let rest = [0.25, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5];
    assert_eq!(y, rest);
    assert_eq!(errors, [0.0625, 0.25, 0.0, 0.5]);
    let mut positions = [0xa5a5; 2];
    largest(&errors, &mut [0; 4], &mut positions).unwrap();
    assert_eq!(positions, [1, 3]);

    let (dim_major, word_major) = (DIM_MAJOR.map(|c| c / 2.0), WORD_MAJOR.map(|c| c / 2.0));
    let half_norms = HALF_NORMS.map(|norm| norm / 4.0);
    let second = Codebook::new(&DIMS, 4, &dim_major, &word_major, &half_norms).unwrap();
    let mut refined = [0xa5a5; 4];
    second
        .encode(&[rest[3..6].as_ref(), &rest[9..]].concat(), &mut refined)
        .unwrap();
    assert_eq!(refined, [1, 0, 0, 3]);
    let mut decoded = [f32::NAN; 12];
    codebook().decode(&codes, &mut decoded).unwrap();
    second.add_token([1, 0], &mut decoded[3..6]).unwrap();
    second.add_token([0, 3], &mut decoded[9..]).unwrap();
    let expected = [
        0.0, -1.0, -1.0, 3.5, 0.5, 0.5, 2.0, 1.0, 1.0, 1.0, -0.5, 1.5,
    ];
    assert_eq!(decoded, expected);
}

#[test]
fn only_the_bits_of_a_code_count() {
    let mut y = [f32::NAN; 3];
    codebook().decode(&[0xfffd, 6], &mut y).unwrap();
    assert_eq!(y, [1.0, -1.0, 1.0]);
    codebook().decode_token([u32::MAX, 4], &mut y).unwrap();
    assert_eq!(y, [3.0, -1.0, -1.0]);
}

#[test]
fn an_iterator_goes_on_with_the_next_token() {
    let mut codes = [3, 2, 0, 1, 2].into_iter();
    let mut y = [f32::NAN; 3];
    codebook().decode_token(&mut codes, &mut y).unwrap();
    assert_eq!(y, [3.0, -1.0, 1.0]);
    codebook().decode_token(&mut codes, &mut y).unwrap();
    assert_eq!(y, [0.0, 1.0, -1.0]);
    let ended = LengthError::CodesEnded {
        found: 1,
        expected: 2,
    };
    assert_eq!(codebook().decode_token(&mut codes, &mut y), Err(ended));
    assert_eq!(y, [2.0, 1.0, -1.0]);
}

#[test]
fn one_token_of_the_wrong_length_takes_no_code() {
    let mut codes = [3, 2].into_iter();
    for found in [0, 2, 4] {
        let error = LengthError::OneToken { found, expected: 3 };
        let y = &mut [0.0; 4][..found];
        assert_eq!(codebook().decode_token(&mut codes, y), Err(error));
        assert_eq!(codebook().add_token(&mut codes, y), Err(error));
    }
    assert_eq!(codes.next(), Some(3));
}

#[test]
fn buffers_that_do_not_fit() {
    let partial = |buffer, found, per_token| LengthError::PartialToken {
        buffer,
        found,
        per_token,
    };
    let cases = [
        (7, 4, partial("y", 7, 3)),
        (6, 3, partial("codes", 3, 2)),
        (6, 6, LengthError::Tokens { y: 2, codes: 3 }),
        (0, 2, LengthError::Tokens { y: 0, codes: 1 }),
    ];
    for (y, codes, error) in cases {
        let (mut y, mut codes) = (vec![0.5; y], vec![0xa5a5; codes]);
        assert_eq!(codebook().encode(&y, &mut codes), Err(error));
        assert!(codes.iter().all(|&code| code == 0xa5a5));
        assert_eq!(codebook().decode(&codes, &mut y), Err(error));
        assert!(y.iter().all(|&y| y == 0.5));
    }
}

#[test]
fn no_tokens() {
    codebook().encode(&[], &mut []).unwrap();
    codebook().decode(&[], &mut []).unwrap();
}

#[test]
fn codebooks_refused() {
    let new = |dims: &[u16], words| {
        Codebook::new(dims, words, &DIM_MAJOR, &WORD_MAJOR, &HALF_NORMS).map(|book| book.rank())
    };
    assert_eq!(new(&DIMS, 4), Ok(3));
    assert_eq!(new(&[], 4), Err(CodebookError::NoGroups));
    assert_eq!(new(&[3, 0], 4), Err(CodebookError::EmptyGroup { group: 1 }));
    for found in [0, 1, 3, 65_537, 1 << 17, usize::MAX] {
        assert_eq!(new(&DIMS, found), Err(CodebookError::Words { found }));
    }
    let length = |table, found, expected| CodebookError::Length {
        table,
        found,
        expected,
    };
    assert_eq!(new(&[1, 3], 4), Err(length("dim_major", 12, 16)));
    let error = |dim_major, word_major, norms| {
        Codebook::new(&DIMS, 4, dim_major, word_major, norms).map(|book| book.rank())
    };
    assert_eq!(
        error(&DIM_MAJOR, &WORD_MAJOR[1..], &HALF_NORMS),
        Err(length("word_major", 11, 12))
    );
    assert_eq!(
        error(&DIM_MAJOR, &WORD_MAJOR, &HALF_NORMS[1..]),
        Err(length("half_norms", 7, 8))
    );
}

#[test]
fn derived_tables_refused() {
    let length = |table, found, expected| CodebookError::Length {
        table,
        found,
        expected,
    };
    let mut out = [0.5; 12];
    for (from, to, error) in [
        (11, 12, length("dim_major", 11, 12)),
        (12, 11, length("word_major", 11, 12)),
    ] {
        assert_eq!(
            word_major(&DIMS, 4, &DIM_MAJOR[..from], &mut out[..to]),
            Err(error)
        );
    }
    let error = half_norms(&DIMS, 4, &DIM_MAJOR, &mut out);
    assert_eq!(error, Err(length("half_norms", 12, 8)));
    assert_eq!(out, [0.5; 12]);
}

#[test]
fn messages_name_what_was_found_and_expected() {
    let length = CodebookError::Length {
        table: "half_norms",
        found: 7,
        expected: 8,
    };
    assert_eq!(
        length.to_string(),
        "half_norms of the codebook: found 7 numbers, expected 8"
    );
    let partial = LengthError::PartialToken {
        buffer: "y",
        found: 7,
        per_token: 3,
    };
    assert_eq!(
        partial.to_string(),
        "y: found 7 entries, expected a multiple of 3"
    );
}
