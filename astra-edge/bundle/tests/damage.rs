//! One thing wrong at a time, and the exact words it is refused with.

#![allow(
    clippy::unwrap_used,
    reason = "helpers are tests too, but stand outside functions marked as such"
)]

mod common;

use std::fs;
use std::path::Path;

use astra_bundle::*;
use common::{Place, manifest_of, overwrite, refusal};
use serde_json::Value;

#[test]
fn places_without_a_bundle() {
    assert_eq!(
        refusal(|dir| fs::remove_dir_all(dir).unwrap()),
        "DIR: found nothing, expected the directory of a bundle"
    );
    assert_eq!(
        refusal(|dir| {
            fs::remove_dir_all(dir).unwrap();
            fs::write(dir, "").unwrap();
        }),
        "DIR: found a file, expected the directory of a bundle"
    );
    assert_eq!(
        refusal(|dir| fs::remove_file(dir.join(MANIFEST_FILE)).unwrap()),
        "DIR/manifest.json: found nothing, expected the manifest of a bundle"
    );
    assert_eq!(
        refusal(|dir| {
            fs::remove_file(dir.join(MANIFEST_FILE)).unwrap();
            fs::create_dir(dir.join(MANIFEST_FILE)).unwrap();
        }),
        "DIR/manifest.json: found no regular file, expected one"
    );
}

#[test]
fn other_programs_manifests() {
    let foreign = "DIR/manifest.json: manifest: found ";
    let expected = ", expected an object with a number \"format\"";
    for (text, found) in [
        (
            r#"{"manifest_version": 3, "name": "extension"}"#,
            "no \"format\"",
        ),
        (r#"{"format": "zip"}"#, "\"format\" is \"zip\""),
        (r#"{"format": -1}"#, "\"format\" is -1"),
        (r#"{"format": 1.5}"#, "\"format\" is 1.5"),
        (
            "7",
            "invalid type: integer `7`, expected struct Head at line 1 column 1",
        ),
    ] {
        assert_eq!(
            refusal(manifest_of(text)),
            format!("{foreign}{found}{expected}")
        );
    }
}

#[test]
fn manifests_that_are_not_json() {
    for (text, found) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        (
            "{\"format\": 3",
            "EOF while parsing an object at line 1 column 12",
        ),
        ("\u{7f}ELF", "expected value at line 1 column 1"),
    ] {
        assert_eq!(
            refusal(manifest_of(text)),
            format!("DIR/manifest.json: manifest: {found}, expected format 3 or 4")
        );
    }
    let hollow = refusal(manifest_of("{\"format\": 3}"));
    assert_eq!(
        hollow,
        "DIR/manifest.json: manifest: missing field `model` at line 1 column 13, expected format 3 or 4"
    );
}

#[test]
fn a_huge_manifest_is_not_read_whole() {
    let huge = |dir: &Path| {
        let file = fs::File::options()
            .write(true)
            .open(dir.join(MANIFEST_FILE))
            .unwrap();
        file.set_len(1 << 40).unwrap();
    };
    assert!(refusal(huge).contains("more than 16777216 bytes"));
}

#[test]
fn files_missing_or_of_another_kind() {
    assert_eq!(
        refusal(|dir| fs::remove_file(dir.join("embed.onnx")).unwrap()),
        "DIR/embed.onnx: found nothing, expected a file of 11 bytes"
    );
    for name in [WEIGHTS_FILE, CODEBOOKS_FILE] {
        let text = refusal(|dir| fs::remove_file(dir.join(name)).unwrap());
        assert!(
            text.starts_with(&format!("DIR/{name}: found nothing, expected a file of ")),
            "{text}"
        );
    }
    assert_eq!(
        refusal(|dir| {
            fs::remove_file(dir.join("embed.onnx")).unwrap();
            fs::create_dir(dir.join("embed.onnx")).unwrap();
        }),
        "DIR/embed.onnx: found no regular file, expected one"
    );
}

#[test]
fn files_of_another_size() {
    for name in ["embed.onnx", "head.onnx", WEIGHTS_FILE, CODEBOOKS_FILE] {
        for change in [-1, 1, i64::MIN] {
            let mut sizes = (0, 0);
            let text = refusal(|dir| {
                let file = fs::File::options()
                    .write(true)
                    .open(dir.join(name))
                    .unwrap();
                let whole = file.metadata().unwrap().len();
                sizes = (whole.saturating_add_signed(change), whole);
                file.set_len(sizes.0).unwrap();
            });
            assert_eq!(
                text,
                format!(
                    "DIR/{name}: size: found {} bytes, expected {}",
                    sizes.0, sizes.1
                )
            );
        }
    }
}

#[test]
fn every_flipped_byte_of_every_file() {
    let place = Place::new();
    let dir = place.bundle();
    let expected = common::write(&dir).manifest().files.clone();
    assert_eq!(expected.len(), 4);
    for (name, entry) in &expected {
        let path = dir.join(name);
        let good = fs::read(&path).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1 << (i % 8);
            overwrite(&path, &bad);
            let error = Bundle::open(&dir).expect_err("a flipped byte went unseen");
            assert!(
                matches!(&error, BundleError::Hash { path: at, found, expected }
                    if *at == path && *found == Sha256Digest::of(&bad) && *expected == entry.sha256),
                "byte {i}: {error}"
            );
        }
        overwrite(&path, &good);
    }
    Bundle::open(&dir).unwrap();
}

#[test]
fn files_that_the_manifest_does_not_name_are_ignored() {
    let place = Place::new();
    let hash = common::write(&place.bundle()).hash();
    fs::write(place.bundle().join("cache.engine"), "left by a runtime").unwrap();
    assert_eq!(Bundle::open(&place.bundle()).unwrap().hash(), hash);
}

/// Uses everything that a manifest, damaged in a way that still opens, gives access to.
fn use_all(bundle: &Bundle) {
    let manifest = bundle.manifest();
    for block in 0..manifest.shape.blocks {
        bundle.exact(block).unwrap();
        for basis in &manifest.bases {
            bundle.basis(&basis.name, block).unwrap();
        }
        for rung in &manifest.rungs {
            let of_rung = rung.words * rung.blocks.get(block).unwrap().rank;
            let view = bundle
                .codebook(bundle.rung(rung.bits).unwrap(), block)
                .unwrap();
            assert_eq!(view.first.words.len(), of_rung);
        }
    }
    for name in common::GRAPHS {
        let _ = bundle.graph(name);
    }
}

#[test]
fn every_damaged_byte_of_the_manifest_is_refused_or_harmless() {
    let place = Place::new();
    let dir = place.bundle();
    drop(common::write(&dir));
    let path = dir.join(MANIFEST_FILE);
    let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // Without white space, so that every byte means something.
    let good = good.to_string().into_bytes();

    let (mut opened, mut refused) = (0, 0);
    let mut try_open = |bytes: &[u8], truncated: bool| {
        overwrite(&path, bytes);
        match Bundle::open(&dir) {
            Ok(bundle) => {
                assert!(!truncated, "opened with {} bytes", bytes.len());
                use_all(&bundle);
                opened += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
                refused += 1;
            }
        }
    };
    for i in 0..good.len() {
        try_open(&good[..i], true);
        for mask in [0x01, 0x04, 0x10, 0x80] {
            let mut bad = good.clone();
            bad[i] ^= mask;
            try_open(&bad, false);
        }
    }
    assert!(opened > 0, "a letter of the model's name is harmless");
    assert!(refused > opened);
}
