//! Matrices in blocks of integers: read as written, and refused where a value contradicts another.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers are tests too, but stand outside functions marked as such"
)]

mod common;

use std::fs;
use std::path::Path;

use astra_bundle::*;
use common::{Place, SHAPE, cases, edit, edited_of, refusal_of, substitute, write_parts};
use serde_json::json;

/// Run with `UPDATE_GOLDEN=1` after a change of the format, and read the difference.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/matrices.json");

/// The integers of BUNDLE.md's example: 0, 1, 8, 15, then 8.
const EXAMPLE: [u8; 16] = [
    0x10, 0xf8, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88,
];

/// Three matrices: the example, one of 8 bits of which the second block of each row reaches beyond it, and one of float32.
fn write(dir: &Path) -> Bundle {
    let mut writer = BundleWriter::create(dir).unwrap();
    let example = MatrixBlocks {
        bits: 4,
        size: 32,
        data: writer.weights_u8(&EXAMPLE, &[1, 1, 16]).unwrap(),
        scales: writer.weights(&[0.5], &[1, 1]).unwrap(),
        minima: Some(writer.weights(&[1.0], &[1, 1]).unwrap()),
    };
    let bytes: Vec<u8> = (0..96).collect();
    let wide = MatrixBlocks {
        bits: 8,
        size: 16,
        data: writer.weights_u8(&bytes, &[3, 2, 16]).unwrap(),
        scales: writer.weights(&[0.25; 6], &[3, 2]).unwrap(),
        minima: None,
    };
    let matrix = |name: &str, inputs, outputs, blocks| Matrix {
        name: name.to_owned(),
        inputs,
        outputs,
        blocks,
    };
    let mut manifest = write_parts(&mut writer);
    for block in 0..SHAPE.blocks {
        writer.graph(&exact_name(block), b"graph").unwrap();
    }
    manifest.exact.clear();
    manifest.matrices = vec![
        matrix("block_00.key", 32, 1, Some(example)),
        matrix("block_00.value", 20, 3, Some(wide)),
        matrix("head", 4, 10, None),
    ];
    writer.finish(manifest).unwrap()
}

#[test]
fn they_read_as_they_were_written() {
    let place = Place::new();
    let written = write(&place.bundle());
    let read = Bundle::open(&place.bundle()).unwrap();
    assert_eq!(read.manifest(), written.manifest());
    let matrices = &read.manifest().matrices;
    assert_eq!(
        matrices.iter().map(Matrix::storage).collect::<Vec<_>>(),
        [
            "4 bits, blocks of 32, with minima",
            "8 bits, blocks of 16",
            "float32"
        ]
    );
    let bytes = matrices.iter().map(Matrix::bytes);
    assert_eq!(bytes.collect::<Vec<_>>(), [16 + 4 + 4, 96 + 24, 160]);

    let text = fs::read_to_string(read.dir().join(MANIFEST_FILE)).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(GOLDEN, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(GOLDEN).unwrap());
    let weights = fs::read(read.dir().join(WEIGHTS_FILE)).unwrap();
    assert_eq!(weights[..16], EXAMPLE);
    assert_eq!(weights[64..68], [0, 0, 0, 0x3f]);
    assert_eq!(weights[128..132], [0, 0, 0x80, 0x3f]);
}

#[test]
fn edits_that_contradict_are_refused() {
    for (pointer, value, refusal) in cases(
        r#"
/format = 3 | format: found 3, expected 4, one with matrices in blocks
/matrices/0/name = "a/b" | matrices[0].name: found "a/b", expected letters, digits, '.' and '_'
/matrices/2/name = "block_00.key" | matrices[2].name: found "block_00.key" again, expected another name for every matrix
/matrices/1/inputs = 0 | matrices[1].inputs: found 0, expected 1 to 16777216
/matrices/0/blocks/bits = 5 | matrices[0].blocks.bits: found 5, expected 4 or 8
/matrices/0/blocks/size = 48 | matrices[0].blocks.size: found 48, expected a power of two from 16 to 256
/matrices/0/blocks/bits = 8 | matrices[0].blocks.data.shape: found [1, 1, 16], expected [1, 1, 32]
/matrices/1/inputs = 40 | matrices[1].blocks.data.shape: found [3, 2, 16], expected [3, 3, 16]
/matrices/1/blocks/scales/shape = [3, 1] | matrices[1].blocks.scales.shape: found [3, 1], expected [3, 2]
/matrices/1/blocks/scales/dtype = "float16" | matrices[1].blocks.scales.dtype: found float16, expected float32
/matrices/0/blocks/minima/shape = [2] | matrices[0].blocks.minima.shape: found [2], expected [1, 1]
/matrices/0/blocks/data/dtype = "float16" | matrices[0].blocks.data.dtype: found float16, expected uint8
/bases/0/blocks/0/enc_b/dtype = "uint8" | bases[0].blocks[0].enc_b.dtype: found uint8, expected float32 or float16
"#,
    ) {
        if pointer.ends_with("scales/dtype") || pointer.ends_with("enc_b/dtype") {
            // Float32 is not written.
            let damage = |dir: &Path| {
                edit(dir, |manifest| {
                    let (parent, key) = pointer.rsplit_once('/').unwrap();
                    manifest.pointer_mut(parent).unwrap()[key] = value;
                });
            };
            let found = refusal_of(write, damage);
            assert_eq!(found, format!("DIR/manifest.json: {refusal}"));
            continue;
        }
        assert_eq!(edited_of(write, pointer, value), refusal, "{pointer}");
    }
}

#[test]
fn unknown_types_are_refused_by_name() {
    let found = edited_of(write, "/matrices/0/blocks/data/dtype", json!("int3"));
    let expected =
        "manifest: unknown variant `int3`, expected one of `float32`, `float16`, `uint8`";
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn a_list_of_float_matrices_alone_is_refused() {
    let only_floats = |dir: &Path| {
        edit(dir, |manifest| {
            let list = manifest["matrices"].as_array_mut().unwrap();
            list.drain(..2);
            manifest["format"] = json!(3);
        });
    };
    assert_eq!(
        refusal_of(write, only_floats),
        "DIR/manifest.json: matrices: found 1 in float32, expected none, or one in blocks"
    );
}

#[test]
fn exact_mode_needs_matrices_or_graphs() {
    let without = |dir: &Path| {
        edit(dir, |manifest| {
            let files = manifest["files"].as_object_mut().unwrap();
            files.remove("exact_01.onnx").unwrap();
        });
    };
    assert_eq!(
        refusal_of(write, without),
        "DIR/manifest.json: files: found no exact_01.onnx, expected an entry for it, as there are no matrices for exact mode"
    );
}

#[test]
fn tensors_outside_the_file_and_scales_that_are_no_numbers_are_refused() {
    let outside = edit_offset("data", 1 << 20);
    assert!(outside.contains("weights.bin: tensor [1, 1, 16]: found it at byte 1048576"));
    let infinite = |dir: &Path| {
        let mut weights = fs::read(dir.join(WEIGHTS_FILE)).unwrap();
        weights[64..68].copy_from_slice(&f32::INFINITY.to_le_bytes());
        substitute(dir, WEIGHTS_FILE, &weights);
    };
    assert_eq!(
        refusal_of(write, infinite),
        "DIR/weights.bin: block_00.key scales: found inf, expected finite values"
    );
}

fn edit_offset(tensor: &str, offset: u64) -> String {
    let damage = |dir: &Path| {
        edit(dir, |manifest| {
            manifest["matrices"][0]["blocks"][tensor]["offset"] = json!(offset);
        });
    };
    refusal_of(write, damage)
}
