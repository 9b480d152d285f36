use std::borrow::Cow;

use super::*;

fn stage<'a>(dims: &'a [u16], words: &'a [f32]) -> StageView<'a> {
    StageView {
        dims,
        words: Cow::Borrowed(words),
    }
}

/// R = 3, G = 2, K = 2.
fn one_stage() -> CodebookView<'static> {
    CodebookView {
        perm: &[2, 0, 3],
        first: stage(&[1, 2], &[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]),
        second: None,
        mean: None,
    }
}

/// With a second stage of one group and four words.
fn two_stages() -> CodebookView<'static> {
    const WORDS: &[f32] = &[0.5; 12];
    CodebookView {
        second: Some(stage(&[3], WORDS)),
        ..one_stage()
    }
}

/// With a mean.
fn with_mean() -> CodebookView<'static> {
    CodebookView {
        mean: Some(MeanView {
            bits: Cow::Borrowed(&[4, 0, 8]),
            steps: Cow::Borrowed(&[0.5, 0.0, 0.25]),
        }),
        ..two_stages()
    }
}

fn stored<'a>(view: &CodebookView<'_>, bytes: &'a [u8]) -> StoredBlock<'a> {
    StoredBlock::parse(bytes, view.layout().unwrap()).unwrap()
}

#[test]
fn bytes_of_a_block() {
    let bytes = one_stage().to_bytes().unwrap();
    assert_eq!(bytes.len(), 128);
    assert_eq!(bytes[..6], [2, 0, 0, 0, 3, 0], "perm");
    assert_eq!(bytes[6..10], [1, 0, 2, 0], "dims");
    assert_eq!(bytes[10..64], [0; 54], "padding");
    assert_eq!(bytes[64..68], [0, 0x3c, 0, 0xbc], "words 1, -1");
    assert_eq!(bytes[76..], [0; 52], "padding");

    let bytes = two_stages().to_bytes().unwrap();
    assert_eq!(bytes.len(), 192);
    assert_eq!(bytes[6..12], [1, 0, 2, 0, 3, 0], "dims, dims2");
    assert_eq!(bytes[12..64], [0; 52], "padding");
    assert_eq!(bytes[128..152], [0, 0x38].repeat(12), "words2");
    assert_eq!(bytes[152..], [0; 40], "padding");

    let bytes = with_mean().to_bytes().unwrap();
    assert_eq!(bytes.len(), 192);
    assert_eq!(bytes[12..18], [4, 0, 0, 0, 8, 0], "mean_bits");
    assert_eq!(bytes[18..24], [0, 0x38, 0, 0, 0, 0x34], "mean_steps");
    assert_eq!(bytes[24..64], [0; 40], "padding");
}

#[test]
fn a_block_reads_as_it_was_written() {
    for view in [one_stage(), two_stages(), with_mean()] {
        let bytes = view.to_bytes().unwrap();
        let found = stored(&view, &bytes);
        found.check("", 4).unwrap();
        assert_eq!(found.view(), view);
    }
}

#[test]
fn sizes_are_what_is_written_at_every_border() {
    for (rank, groups, words) in [
        (1, 1, 2),
        (30, 2, 16),
        (31, 2, 16),
        (64, 64, 4),
        (192, 40, 256),
    ] {
        for refined in [None, Some((1, 2)), Some((groups, 16)), Some((rank, 256))] {
            let layout = Layout {
                rank,
                first: StageLayout { groups, words },
                second: refined.map(|(groups, words)| StageLayout { groups, words }),
                mean: groups > 1,
            };
            let axes = vec![0; if groups > 1 { rank } else { 0 }];
            let values = |words: usize| vec![0; rank * words];
            let (first, second) = (values(words), refined.map(|(_, words)| values(words)));
            let block = StoredBlock {
                perm: &vec![0; rank],
                dims: &vec![0; groups],
                words: &first,
                dims2: &vec![0; refined.map_or(0, |(groups, _)| groups)],
                mean_bits: &axes,
                mean_steps: &axes,
                words2: &second.unwrap_or_default(),
            };
            let bytes = block.to_bytes();
            assert_eq!(bytes.len() as u64, layout.bytes(), "{layout:?}");
            let whole = StoredBlock::parse(&bytes, layout).unwrap();
            assert_eq!(whole.words2.len(), block.words2.len());
        }
    }
}

/// What is refused, and what was found.
fn refusal(view: &CodebookView<'_>) -> (String, String) {
    let invalid = view.to_bytes().unwrap_err();
    (invalid.field, invalid.found)
}

#[test]
fn refuses_what_a_kernel_could_not_use() {
    let pair = |field: &str, found: &str| (field.to_owned(), found.to_owned());
    let view = one_stage();
    let bytes = view.to_bytes().unwrap();
    let invalid = stored(&view, &bytes).check("", 3).unwrap_err();
    assert_eq!((invalid.field, invalid.found), pair("perm[2]", "3"));
    let twice = CodebookView {
        perm: &[1, 0, 1],
        ..one_stage()
    };
    assert_eq!(refusal(&twice), pair("perm[2]", "1 again"));

    let words = &one_stage().first.words;
    let mut infinite = words.to_vec();
    infinite[1] = f32::NAN;
    let mut large = words.to_vec();
    large[5] = -1e5;
    for (first, field, found) in [
        (stage(&[3, 0], words), "dims", "[3, 0]"),
        (stage(&[2, 2], words), "dims", "[2, 2]"),
        (stage(&[1, 2], &infinite), "words", "NaN"),
        (stage(&[1, 2], &large), "words", "-100000"),
    ] {
        let second = Some(first.clone());
        let view = CodebookView {
            first,
            ..one_stage()
        };
        assert_eq!(refusal(&view), pair(field, found));
        let view = CodebookView {
            second,
            ..one_stage()
        };
        assert_eq!(refusal(&view), pair(&format!("{field}2"), found));
    }
}

#[test]
fn refuses_a_mean_that_cannot_be_coded() {
    let refused = |bits: &[u8], steps: &[f32]| {
        let mean = MeanView {
            bits: bits.into(),
            steps: steps.into(),
        };
        refusal(&CodebookView {
            mean: Some(mean),
            ..one_stage()
        })
        .0
    };
    assert_eq!(refused(&[4, 0], &[1.0; 3]), "mean");
    assert_eq!(refused(&[4, 0, 1], &[1.0; 2]), "mean");
    assert_eq!(refused(&[4, 9, 1], &[1.0; 3]), "mean_bits[1]");
    assert_eq!(refused(&[4, 0, 1], &[1.0, 0.0, 0.0]), "mean_steps[2]");
    assert_eq!(refused(&[4, 0, 1], &[-1.0, 0.0, 1.0]), "mean_steps[0]");
    assert_eq!(refused(&[4, 0, 1], &[1.0, 0.0, f32::NAN]), "mean_steps");
}

#[test]
fn padding_is_zero() {
    for (view, padding) in [
        (one_stage(), [10..64, 76..128, 128..128]),
        (two_stages(), [12..64, 76..128, 152..192]),
        (with_mean(), [24..64, 76..128, 152..192]),
    ] {
        let mut bytes = view.to_bytes().unwrap();
        assert_eq!(stored(&view, &bytes).check_padding("", &bytes), Ok(()));
        for i in 0..bytes.len() {
            bytes[i] ^= 0x10;
            let refused = stored(&view, &bytes).check_padding("", &bytes).is_err();
            let expected = padding.iter().any(|range| range.contains(&i));
            assert_eq!(refused, expected, "byte {i}");
            bytes[i] ^= 0x10;
        }
    }
}
