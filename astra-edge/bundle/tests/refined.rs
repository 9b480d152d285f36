//! A rung of two stages whose blocks differ: read as written, and refused where a value of it contradicts another.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers are tests too, but stand outside functions marked as such"
)]

mod common;

use std::fs;
use std::path::Path;

use astra_bundle::*;
use common::refined::{BITS, RANKS, both_words, first, second, table};
use common::{Place, SHAPE, cases, edit, edited_of, refined, refusal_of, substitute};
use serde_json::{Value, json};

#[test]
fn it_reads_as_it_was_written() {
    let place = Place::new();
    let written = refined::write(&place.bundle());
    let read = Bundle::open(&place.bundle()).unwrap();
    assert_eq!(read.manifest(), written.manifest());
    let rung = read.rung(BITS).unwrap();
    assert_eq!(rung.mean_rank(), 3, "2.5 rounded up");
    for (block, expected) in [first, second].iter().enumerate() {
        let [words, words2] = both_words(block);
        assert_eq!(
            read.codebook(rung, block).unwrap(),
            expected(&words, &words2)
        );
    }

    let mut number = 0;
    let mut expect = |found: &[f32], len| {
        number += 1;
        let exact = table(number, len);
        let mut rounded = exact.clone();
        round_to_f16(&mut rounded);
        assert_ne!(rounded, exact, "a table that float16 does not hold");
        assert_eq!(found, rounded);
    };
    for (block, rank) in RANKS.into_iter().enumerate() {
        let basis = read.basis(&rung.basis, block).unwrap();
        assert_eq!(basis.rank, rank);
        expect(&basis.enc_w, rank * SHAPE.hidden);
        expect(&basis.enc_b, rank);
        expect(&basis.dec_w, rank * 6);
        expect(&basis.dec_b, 6);
    }
    let prediction = read.prediction(rung, 1).unwrap().unwrap();
    expect(&prediction.w, RANKS[0] * RANKS[1]);
    expect(&prediction.b, RANKS[1]);
}

/// The example of BUNDLE.md.
#[test]
fn its_codebooks_lie_as_specified() {
    let place = Place::new();
    let bundle = refined::write(&place.bundle());
    let places = bundle.rung(BITS).unwrap().blocks.iter();
    let places: Vec<_> = places.map(|block| block.codebooks).collect();
    assert_eq!(places, [576, 768]);
    let file = fs::read(bundle.dir().join(CODEBOOKS_FILE)).unwrap();
    assert_eq!(file.len(), 960);
    let block = &file[576..768];
    assert_eq!(block[..12], [2, 0, 0, 0, 1, 0, 1, 0, 2, 0, 3, 0]);
    assert_eq!(block[12..64], [0; 52], "padding");
    let words: Vec<u8> = (0..12).flat_map(|i| [i, 0x54]).collect();
    assert_eq!(block[64..88], words);
    assert_eq!(block[88..128], [0; 40], "padding");
    let words2: Vec<u8> = (0..6).flat_map(|i| [i, 0x56]).collect();
    assert_eq!(block[128..140], words2);
    assert_eq!(block[140..], [0; 52], "padding");
}

const EDITS: &str = r#"
/rungs/2/refinement/share = 0 | rungs[2].refinement.share: found 0, expected 1 to 64
/rungs/2/refinement/share = 65 | rungs[2].refinement.share: found 65, expected 1 to 64
/rungs/2/refinement/code_bits = 0 | rungs[2].refinement.code_bits: found 0, expected 1 to 16
/rungs/2/refinement/code_bits = 17 | rungs[2].refinement.code_bits: found 17, expected 1 to 16
/rungs/2/refinement/words = 4 | rungs[2].refinement.words: found 4, expected 2, 2 to the code_bits
/rungs/2/refinement = null | rungs[2].blocks[0].refined_groups: found 1, expected 0 in a rung without refinement
/rungs/2/blocks/1/refined_groups = 0 | rungs[2].blocks[1].refined_groups: found 0, expected 1 to 2
/rungs/2/blocks/1/refined_groups = 3 | rungs[2].blocks[1].refined_groups: found 3, expected 1 to 2
/rungs/2/blocks/1/groups = 3 | rungs[2].blocks[1].groups: found 3, expected 1 to 2
/rungs/2/blocks/1/rank = 1 | rungs[2].blocks[1].refined_groups: found 2, expected 1 to 1
/rungs/2/blocks/1/rank = 3 | rungs[2].blocks[1].rank: found 3, expected 1 to 2
/rungs/2/blocks/1/codebooks = 65 | rungs[2].blocks[1].codebooks: found 65, expected a multiple of 64
/bases/2/blocks/1/rank = 3 | bases[2].blocks[1].enc_w.shape: found [2, 4], expected [3, 4]
/rungs/2/prediction/0/w/shape = [2, 3] | rungs[2].prediction[0].w.shape: found [2, 3], expected [3, 2]
/rungs/2/prediction/0/b/shape = [3] | rungs[2].prediction[0].b.shape: found [3], expected [2]
/rungs/2/agreement/0/quality/low = 0.9994 | rungs[2].agreement[0].quality.low: found 0.9994, expected at most 0.9993, the upper end of the interval
/rungs/2/agreement/0/quality/mean = 0.9987 | rungs[2].agreement[0].quality.mean: found 0.9987, expected 0.9988 to 0.9993, its interval
/rungs/2/agreement/0/quality/mean = 1 | rungs[2].agreement[0].quality.mean: found 1, expected 0.9988 to 0.9993, its interval
"#;

#[test]
fn one_value_edited() {
    for (pointer, value, refusal) in cases(EDITS) {
        assert_eq!(edited_of(refined::write, pointer, value), refusal);
    }
}

#[test]
fn one_value_of_another_type() {
    for (pointer, value, expected) in [
        (
            "/rungs/2/refinement/share",
            json!(256),
            "invalid value: integer `256`",
        ),
        (
            "/rungs/2/agreement/0/quality/measure",
            json!("psnr"),
            "unknown variant `psnr`",
        ),
        (
            "/rungs/2/agreement/0/quality/low",
            Value::Null,
            "invalid type: null",
        ),
        (
            "/bases/2/blocks/0/enc_w/dtype",
            json!("bfloat16"),
            "unknown variant `bfloat16`",
        ),
        (
            "/rungs/2/blocks/0",
            json!({ "rank": 3 }),
            "missing field `groups`",
        ),
        (
            "/calibration",
            json!({ "source": "", "inputs": 1, "tokens": 1 }),
            "missing field `held_out`",
        ),
        (
            "/rungs/2/agreement/0",
            json!({ "devices": 4, "images": 20 }),
            "missing field `inputs`",
        ),
    ] {
        let text = edited_of(refined::write, pointer, value);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn tensors_of_float16_take_half_the_bytes() {
    let half = TensorRef {
        offset: 0,
        shape: vec![3],
        dtype: Dtype::Float16,
    };
    let whole = TensorRef {
        dtype: Dtype::Float32,
        ..half.clone()
    };
    assert_eq!((half.byte_len(), whole.byte_len()), (Some(6), Some(12)));

    let place = Place::new();
    let bundle = refined::write(&place.bundle());
    let size = bundle.manifest().files[WEIGHTS_FILE].bytes;
    let all = |dtype| TensorRef {
        offset: 0,
        shape: vec![size as usize / 2],
        dtype,
    };
    assert_eq!(
        bundle.tensor(&all(Dtype::Float16)).unwrap().len() as u64,
        size / 2
    );
    let error = bundle.tensor(&all(Dtype::Float32)).unwrap_err();
    assert!(matches!(error, BundleError::TensorBounds { .. }), "{error}");
}

#[test]
fn codebooks_may_be_shared_and_not_lie_outside() {
    let offset = |value: u64| {
        move |dir: &Path| {
            edit(dir, |manifest| {
                manifest["rungs"][0]["blocks"][1]["codebooks"] = json!(value)
            })
        }
    };
    let place = Place::new();
    drop(refined::write(&place.bundle()));
    offset(64)(&place.bundle());
    Bundle::open(&place.bundle()).unwrap();

    let last = u64::MAX - 63;
    for outside in [960, 896, last] {
        let text = refusal_of(refined::write, offset(outside));
        let expected = "expected them to end within 960 bytes";
        assert_eq!(
            text,
            format!(
                "DIR/codebooks.bin: rung 2 block 1: found 128 bytes at byte {outside}, {expected}"
            )
        );
    }
}

#[test]
fn codebooks_whose_hash_is_right_and_second_stage_is_not() {
    for (at, value, found) in [
        (
            586,
            &[2, 0][..],
            "dims2: found [2], expected numbers above 0 with the sum 3",
        ),
        (
            586,
            &[0, 0],
            "dims2: found [0], expected numbers above 0 with the sum 3",
        ),
        (
            704,
            &[0x01, 0x7c],
            "words2: found NaN, expected finite numbers",
        ),
        (
            704,
            &[0x00, 0xfc],
            "words2: found -inf, expected finite numbers",
        ),
        (
            640,
            &[0x00, 0x7c],
            "words: found inf, expected finite numbers",
        ),
        (588, &[7], "padding: found 0x07, expected zeros"),
        (664, &[7], "padding: found 0x07, expected zeros"),
        (767, &[7], "padding: found 0x07, expected zeros"),
    ] {
        let text = refusal_of(refined::write, |dir| {
            let mut bytes = fs::read(dir.join(CODEBOOKS_FILE)).unwrap();
            bytes[at..at + value.len()].copy_from_slice(value);
            substitute(dir, CODEBOOKS_FILE, &bytes);
        });
        assert_eq!(text, format!("DIR/codebooks.bin: rung 9 block 0 {found}"));
    }
}

#[test]
fn what_float16_cannot_hold_is_not_written() {
    let place = Place::new();
    let mut writer = BundleWriter::create(&place.bundle()).unwrap();
    let range = "-65504 to 65504, the range of float16";
    let dir = writer.dir().display().to_string();
    for (value, found, expected) in [
        (65_520.0, "65520", range),
        (-1e6, "-1000000", range),
        (f32::NAN, "NaN", "finite numbers"),
    ] {
        let error = writer.weights_f16(&[0.0, value], &[2]).unwrap_err();
        let expected_of = |what| format!("{what}: found {found}, expected {expected}");
        assert_eq!(
            error.to_string(),
            format!("{dir}/weights.bin: {}", expected_of("tensor [2]"))
        );
        let [words, mut words2] = both_words(0);
        words2[5] = value;
        let error = writer.codebook(&first(&words, &words2)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{dir}/codebooks.bin: {}", expected_of("words2"))
        );
    }
    assert_eq!(
        writer.weights_f16(&[65_519.0], &[1]).unwrap().offset,
        0,
        "nothing was appended"
    );
}
