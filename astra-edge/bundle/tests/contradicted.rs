//! Files that contradict the manifest under hashes that are right, and tensors and codebooks outside their files.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers are tests too, but stand outside functions marked as such"
)]

mod common;

use std::fs;
use std::path::Path;

use astra_bundle::*;
use common::{edit, refusal, substitute};
use serde_json::json;

#[test]
fn edited_ranks_that_only_the_codebooks_tell() {
    let rank = |dir: &Path| {
        edit(dir, |manifest| {
            manifest["rungs"][1]["blocks"][1]["rank"] = json!(2)
        })
    };
    assert_eq!(
        refusal(rank),
        "DIR/codebooks.bin: rung 4 block 1 padding: found 0x02, expected zeros"
    );
}

#[test]
fn tensors_outside_the_weights() {
    let text = |offset| {
        refusal(|dir| {
            edit(dir, |manifest| {
                manifest["bases"][1]["blocks"][0]["enc_b"]["offset"] = json!(offset)
            })
        })
    };
    assert_eq!(
        text(32),
        "DIR/weights.bin: tensor: found it at byte 32, expected a multiple of 64"
    );
    let end = "expected it to end within 1664 bytes";
    assert_eq!(
        text(1664),
        format!("DIR/weights.bin: tensor [4]: found it at byte 1664, {end}")
    );
    let last = u64::MAX - 63;
    assert_eq!(
        text(last),
        format!("DIR/weights.bin: tensor [4]: found it at byte {last}, {end}")
    );
}

#[test]
fn codebooks_outside_their_file() {
    let text = refusal(|dir| {
        edit(dir, |manifest| {
            manifest["rungs"][1]["blocks"][1]["codebooks"] = json!(64 * 8)
        })
    });
    assert_eq!(
        text,
        "DIR/codebooks.bin: rung 4 block 1: found 128 bytes at byte 512, expected them to end within 576 bytes"
    );
}

#[test]
fn codebooks_whose_hash_is_right_and_content_is_not() {
    let with = |at: usize, value: &'static [u8]| {
        refusal(move |dir| {
            let mut bytes = fs::read(dir.join(CODEBOOKS_FILE)).unwrap();
            bytes[at..at + value.len()].copy_from_slice(value);
            substitute(dir, CODEBOOKS_FILE, &bytes);
        })
    };
    // The second rung starts at 320 with perm [2, 0, 1], dims [1, 2]; its words at 384.
    for (at, value, found) in [
        (
            0,
            &b"ASTRACB1"[..],
            r#"header: found "ASTRACB1\x02\x00\x00\x00", expected "ASTRACB2\x02\x00\x00\x00" and zeros up to byte 64"#,
        ),
        (
            320,
            &[3, 0],
            "rung 4 block 0 perm[0]: found 3, expected another axis for every position, below 3",
        ),
        (
            322,
            &[2, 0],
            "rung 4 block 0 perm[1]: found 2 again, expected another axis for every position, below 3",
        ),
        (
            326,
            &[0, 0, 3, 0],
            "rung 4 block 0 dims: found [0, 3], expected numbers above 0 with the sum 3",
        ),
        (
            326,
            &[2, 0],
            "rung 4 block 0 dims: found [2, 2], expected numbers above 0 with the sum 3",
        ),
        (
            384,
            &[0x00, 0x7e],
            "rung 4 block 0 words: found NaN, expected finite numbers",
        ),
    ] {
        assert_eq!(with(at, value), format!("DIR/codebooks.bin: {found}"));
    }
    assert!(
        refusal(|dir| substitute(dir, CODEBOOKS_FILE, b""))
            .starts_with("DIR/codebooks.bin: header: found \"\"")
    );
    assert!(
        refusal(|dir| substitute(dir, WEIGHTS_FILE, b""))
            .ends_with("expected it to end within 0 bytes")
    );
}
