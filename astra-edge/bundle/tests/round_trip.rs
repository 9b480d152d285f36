//! What the writer writes is what the reader reads, and what the specification says.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers are tests too, but stand outside functions marked as such"
)]

mod common;

use std::fs;

use astra_bundle::*;
use common::{GRAPHS, Place, SHAPE, TENSORS, one_stage, values, words};

/// Run with `UPDATE_GOLDEN=1` after a change of the format, and read the difference.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

#[test]
fn manifest_is_golden() {
    let place = Place::new();
    let language = common::write_text(&place.root().join("language"));
    let predicting = common::write_predicting(&place.root().join("predicting"));
    let refined = common::refined::write(&place.root().join("refined"));
    for (bundle, golden) in [
        (common::write(&place.bundle()), "manifest.json"),
        (language, "language.json"),
        (predicting, "predicting.json"),
        (refined, "refined.json"),
    ] {
        let golden = format!("{GOLDEN}/{golden}");
        let written = fs::read_to_string(bundle.dir().join(MANIFEST_FILE)).unwrap();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &written).unwrap();
        }
        assert_eq!(written, fs::read_to_string(&golden).unwrap());
        let hash = Sha256Digest::of(written.as_bytes());
        assert_eq!(bundle.hash(), hash.0);
        assert_eq!(bundle.short_hash(), hash.to_string()[..12]);
    }
}

#[test]
fn reading_gives_what_was_written() {
    let place = Place::new();
    let written = common::write(&place.bundle());
    let read = Bundle::open(&place.bundle()).unwrap();
    assert_eq!(read.manifest(), written.manifest());
    assert_eq!(read.hash(), written.hash());
    assert_eq!(read.dir(), place.bundle());
    assert_eq!(place.names(), ["tiny"], "no temporary names are left");

    // The order in which the fixture writes: exact, attention, plain; in each, block by block.
    let mut tag = 0;
    let mut expect = |found: &[f32], len| {
        tag += 1;
        assert_eq!(found, values(tag, len));
        assert_eq!(found.as_ptr() as usize % ALIGN as usize, 0);
    };
    for block in 0..SHAPE.blocks {
        let exact = read.exact(block).unwrap();
        expect(&exact.dec_w, 4 * 6);
        expect(&exact.dec_b, 6);
    }
    for (name, rank) in [("attention", 3), ("plain", 4)] {
        for block in 0..SHAPE.blocks {
            let basis = read.basis(name, block).unwrap();
            assert_eq!(basis.rank, rank);
            expect(&basis.enc_w, rank * 4);
            expect(&basis.enc_b, rank);
            expect(&basis.dec_w, rank * 6);
            expect(&basis.dec_b, 6);
        }
    }
    for (bits, perm, dims) in [(2, &[1, 0][..], &[2][..]), (4, &[2, 0, 1], &[1, 2])] {
        for block in 0..SHAPE.blocks {
            let words = words(bits as usize * 10 + block, perm.len() * 4);
            let found = read.codebook(read.rung(bits).unwrap(), block).unwrap();
            assert_eq!(found, one_stage(perm, dims, &words));
        }
    }
    for name in GRAPHS {
        let graph = fs::read_to_string(read.graph(name).unwrap()).unwrap();
        assert_eq!(graph, format!("graph {name}"));
    }
}

#[test]
fn a_language_model_reads_as_it_was_written() {
    let place = Place::new();
    let written = common::write_text(&place.bundle());
    let read = Bundle::open(&place.bundle()).unwrap();
    assert_eq!(read.manifest(), written.manifest());
    assert!(read.manifest().files.contains_key("tokenizer.json"));
}

#[test]
fn predictions_read_as_they_were_written() {
    let place = Place::new();
    let written = common::write_predicting(&place.bundle());
    let read = Bundle::open(&place.bundle()).unwrap();
    assert_eq!(read.manifest(), written.manifest());
    let rung = read.rung(6).unwrap();
    assert_eq!(
        read.basis(&rung.basis, 0).unwrap().rank,
        rung.blocks[0].rank
    );
    assert!(read.prediction(rung, 0).unwrap().is_none());
    let prediction = read.prediction(rung, 1).unwrap().unwrap();
    // After the four tensors of its basis in each block.
    let tag = TENSORS + 4 * SHAPE.blocks + 1;
    assert_eq!(*prediction.w, values(tag, 9));
    assert_eq!(*prediction.b, values(tag + 1, 3));
    for bits in [2, 4] {
        let rung = read.rung(bits).unwrap();
        assert!(read.prediction(rung, 1).unwrap().is_none());
    }
}

#[test]
fn binary_files_lie_as_specified() {
    let place = Place::new();
    let bundle = common::write(&place.bundle());

    let weights = fs::read(bundle.dir().join(WEIGHTS_FILE)).unwrap();
    let second = &bundle.manifest().exact[0].dec_b;
    assert_eq!((second.offset, &second.shape[..]), (128, &[6][..]));
    assert_eq!(
        weights[..4],
        1.0f32.to_le_bytes(),
        "first value of the first tensor"
    );
    assert_eq!(weights[96..128], [0; 32], "padding");
    assert_eq!(
        weights[128..132],
        2.0f32.to_le_bytes(),
        "first value of the second tensor"
    );
    assert_eq!(weights.len() % ALIGN as usize, 0);

    let codebooks = fs::read(bundle.dir().join(CODEBOOKS_FILE)).unwrap();
    let rung = &bundle.manifest().rungs[1];
    let places: Vec<_> = rung.blocks.iter().map(|block| block.codebooks).collect();
    assert_eq!(places, [64 + 2 * 128, 64 + 3 * 128]);
    let block = &codebooks[places[0] as usize..][..128];
    assert_eq!(&codebooks[..12], b"ASTRACB2\x02\0\0\0");
    assert_eq!(codebooks[12..64], [0; 52], "padding of the header");
    assert_eq!(block[..6], [2, 0, 0, 0, 1, 0], "perm");
    assert_eq!(block[6..10], [1, 0, 2, 0], "dims");
    assert_eq!(block[10..64], [0; 54], "padding");
    // 40 is 1.25 * 2^5.
    assert_eq!(block[64..66], [0x00, 0x51], "first word");
    assert_eq!(block[88..], [0; 40], "padding");
}

#[test]
fn what_is_not_there_is_refused_with_what_is() {
    let place = Place::new();
    let bundle = common::write(&place.bundle());
    let dir = place.bundle();
    let text = |error: BundleError| error.to_string().replace(dir.to_str().unwrap(), "DIR");
    assert_eq!(
        text(bundle.graph("local_00").unwrap_err()),
        r#"DIR: graph: found no "local_00", expected one of ["embed", "head"]"#
    );
    assert_eq!(
        text(bundle.graph("../embed").unwrap_err()),
        r#"DIR: graph: found no "../embed", expected one of ["embed", "head"]"#
    );
    assert_eq!(
        text(bundle.rung(320).unwrap_err()),
        "DIR: rung: found none of 320 bits, expected one of [2, 4]"
    );
    assert_eq!(
        text(bundle.basis("pca", 0).unwrap_err()),
        r#"DIR: basis: found no "pca", expected one of ["attention", "plain"]"#
    );
    let no_block = "DIR: block: found 2, expected one below 2";
    assert_eq!(text(bundle.basis("plain", 2).unwrap_err()), no_block);
    assert_eq!(text(bundle.exact(2).unwrap_err()), no_block);
    assert_eq!(
        text(bundle.codebook(bundle.rung(2).unwrap(), 2).unwrap_err()),
        no_block
    );
    assert_eq!(
        text(bundle.prediction(bundle.rung(2).unwrap(), 2).unwrap_err()),
        no_block
    );
}

#[test]
fn references_of_another_bundle_are_refused() {
    let place = Place::new();
    let bundle = common::write(&place.bundle());
    let size = bundle.manifest().files[WEIGHTS_FILE].bytes;
    let whole = TensorRef {
        offset: 0,
        shape: vec![size as usize / 4],
        dtype: Dtype::Float32,
    };
    assert_eq!(bundle.tensor(&whole).unwrap().len() as u64, size / 4);

    for offset in [1, 4, 63, u64::MAX] {
        let tensor = TensorRef {
            offset,
            shape: vec![1],
            dtype: Dtype::Float32,
        };
        let error = bundle.tensor(&tensor).unwrap_err();
        assert!(
            matches!(error, BundleError::TensorAlignment { offset: at, .. } if at == offset),
            "{error}"
        );
    }
    let last = u64::MAX - 63;
    for (offset, shape) in [
        (size, vec![1]),
        (0, vec![size as usize / 4 + 1]),
        (64, vec![size as usize / 4]),
        (last, vec![1]),
        (last, vec![16]),
        (0, vec![usize::MAX]),
        (0, vec![usize::MAX, usize::MAX]),
    ] {
        let error = bundle
            .tensor(&TensorRef {
                offset,
                shape: shape.clone(),
                dtype: Dtype::Float32,
            })
            .unwrap_err();
        assert!(
            matches!(&error, BundleError::TensorBounds { offset: at, shape: of, bytes, .. }
                if *at == offset && *of == shape && *bytes == size),
            "{error}"
        );
    }
}

#[test]
fn codebooks_of_another_bundle_are_refused() {
    let place = Place::new();
    let bundle = common::write(&place.bundle());
    let rung = bundle.rung(4).unwrap();
    let refused = |change: &dyn Fn(&mut Rung)| {
        let mut foreign = rung.clone();
        change(&mut foreign);
        let error = bundle.codebook(&foreign, 1).unwrap_err();
        assert!(matches!(error, BundleError::Invalid { .. }), "{error}");
    };
    for offset in [u64::MAX, 0, 1, 64, 576] {
        refused(&|rung| rung.blocks[1].codebooks = offset);
    }
    const MOST: usize = usize::MAX;
    for (rank, groups, words) in [(MOST, 1, 1), (1, MOST, 1), (1, 1, MOST), (MOST, MOST, MOST)] {
        refused(&|rung| {
            rung.words = words;
            rung.blocks[1] = RungBlock {
                rank,
                groups,
                ..rung.blocks[1]
            };
        });
        refused(&|rung| {
            rung.refinement = Some(Refinement {
                share: 1,
                code_bits: 1,
                words,
            });
            rung.blocks[1].refined_groups = groups;
        });
    }
    refused(&|rung| rung.blocks.truncate(1));
}

#[test]
fn predictions_of_another_bundle_are_refused() {
    let place = Place::new();
    let bundle = common::write(&place.bundle());
    let size = bundle.manifest().files[WEIGHTS_FILE].bytes;
    let rung = bundle.rung(4).unwrap();
    let inside = TensorRef {
        offset: 0,
        shape: vec![1],
        dtype: Dtype::Float32,
    };
    let outside = TensorRef {
        offset: size,
        ..inside.clone()
    };
    let foreign = Rung {
        prediction: vec![PredictionBlock {
            w: inside,
            b: outside,
        }],
        ..rung.clone()
    };
    let error = bundle.prediction(&foreign, 1).unwrap_err();
    assert!(matches!(error, BundleError::TensorBounds { .. }), "{error}");
}

/// What is changed of [`SHAPE`], the field that is refused, and what it could be.
const SHAPES: &str = "
hidden=0 | shape.hidden | 1 to 8192
hidden=8193 | shape.hidden | 1 to 8192
heads=0 | shape.heads | 1 to 8192
heads=18446744073709551615 | shape.heads | 1 to 8192
kv_heads=0 | shape.kv_heads | 1 to 2
kv_heads=3 | shape.kv_heads | 1 to 2
heads=3 kv_heads=2 | shape.kv_heads | a divisor of the 3 heads
head_dim=0 | shape.head_dim | 1 to 4096
head_dim=4097 | shape.head_dim | 1 to 4096
blocks=0 | shape.blocks | 1 to 255
blocks=256 | shape.blocks | 1 to 255
tokens=0 | shape.tokens | 1 to 65535
tokens=65536 | shape.tokens | 1 to 65535
class_tokens=65536 | shape.class_tokens | 0 to 65535
";

/// A line of [`SHAPES`].
fn shape(line: &str) -> (Shape, &str, &str) {
    let [changes, field, expected] = line.split(" | ").collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    let mut shape = SHAPE;
    for change in changes.split(' ') {
        let (name, value) = change.split_once('=').unwrap();
        let value = value.parse().unwrap();
        match name {
            "hidden" => shape.hidden = value,
            "heads" => shape.heads = value,
            "kv_heads" => shape.kv_heads = value,
            "head_dim" => shape.head_dim = value,
            "blocks" => shape.blocks = value,
            "tokens" => shape.tokens = value,
            "class_tokens" => shape.class_tokens = value,
            other => panic!("{other}"),
        }
    }
    (shape, field, expected)
}

#[test]
fn shapes_out_of_range_are_named() {
    assert_eq!(SHAPE.validate(), Ok(()));
    let edge = Shape {
        hidden: 8192,
        blocks: 255,
        tokens: 65535,
        class_tokens: 0,
        ..SHAPE
    };
    assert_eq!(edge.validate(), Ok(()));
    for (shape, field, expected) in SHAPES.trim().lines().map(shape) {
        let invalid = shape.validate().unwrap_err();
        assert_eq!(
            (invalid.field.as_str(), invalid.expected.as_str()),
            (field, expected)
        );
    }
}
