//! One value of the manifest edited: refused by its name, with what was found and expected.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers are tests too, but stand outside functions marked as such"
)]

mod common;

use astra_bundle::*;
use common::{Place, cases, edit, edited_of, manifest_of, refusal};
use serde_json::{Value, json};

/// What opening says after one value of the manifest, given by its JSON pointer, was edited; without the file's name.
fn edited(pointer: &str, value: Value) -> String {
    edited_of(common::write, pointer, value)
}

/// The same for a language model.
fn edited_text(pointer: &str, value: Value) -> String {
    edited_of(common::write_text, pointer, value)
}

#[test]
fn another_format_is_refused_before_anything_else() {
    let command = |arguments| {
        format!(
            "DIR/manifest.json: format: found 2, expected 3 or 4; make it anew: astra-export export {arguments} --out DIR"
        )
    };
    assert_eq!(
        refusal(|dir| edit(dir, |manifest| manifest["format"] = json!(2))),
        command("--onnx tiny.onnx --size 4")
    );
    // Nothing else in it is a manifest of format 3 or 4.
    assert_eq!(
        refusal(manifest_of(r#"{"format": 2, "shape": "new", "files": []}"#)),
        command("--onnx FILE|--gguf FILE|--hf DIR")
    );
    let newer = "format: found 5, expected 3 or 4; a newer astra-export wrote it: use a newer version of this program";
    assert_eq!(edited("/format", json!(5)), newer);
    assert!(edited("/format", json!(0)).starts_with("format: found 0, expected 3"));
    assert!(
        edited("/format", json!(u64::MAX))
            .starts_with("format: found 18446744073709551615, expected")
    );
}

#[test]
fn file_names_that_leave_the_directory() {
    for name in [
        "../weights.bin",
        "/etc/hostname",
        "a/b",
        "..",
        ".hidden",
        "",
    ] {
        let text = refusal(|dir| {
            edit(dir, |manifest| {
                manifest["files"][name] = json!({ "bytes": 0, "sha256": "0".repeat(64) })
            });
        });
        let expected =
            "a plain file name of letters, digits, '.', '_' and '-' that does not start with '.'";
        assert_eq!(
            text,
            format!("DIR/manifest.json: files: found {name:?}, expected {expected}")
        );
    }
    let text = refusal(|dir| {
        edit(dir, |manifest| {
            manifest["files"][MANIFEST_FILE] = manifest["files"]["embed.onnx"].clone()
        });
    });
    assert_eq!(
        text,
        "DIR/manifest.json: files: found manifest.json, expected every file but the manifest itself"
    );
}

#[test]
fn files_that_the_format_needs() {
    for name in [WEIGHTS_FILE, CODEBOOKS_FILE] {
        let text = refusal(|dir| {
            edit(dir, |manifest| {
                drop(manifest["files"].as_object_mut().unwrap().remove(name))
            });
        });
        assert_eq!(
            text,
            format!("DIR/manifest.json: files: found no {name}, expected an entry for it")
        );
    }
}

const SHAPES_AND_BASES: &str = r#"
/shape/hidden = 0 | shape.hidden: found 0, expected 1 to 8192
/shape/hidden = 8 | bases[0].blocks[0].enc_w.shape: found [3, 4], expected [3, 8]
/shape/head_dim = 2 | bases[0].blocks[0].dec_w.shape: found [3, 6], expected [3, 4]
/shape/blocks = 3 | bases[0].blocks: found 2 blocks, expected 3
/shape/tokens = 9 | image.size: found 4 with patches of 2, expected a size of 9 patches
/image = null | image: found nothing, expected how an image becomes the input
/image/patch = 0 | image.patch: found 0, expected 1 to 4
/image/map_size = null | image.map_size: found nothing, expected height and width of the saliency map
/image/map_size/1 = 0 | image.map_size: found 0, expected 1 to 8192
/exact = [] | exact: found 0 blocks, expected 2
/bases/0/blocks/0/rank = 2 | bases[0].blocks[0].enc_w.shape: found [3, 4], expected [2, 4]
/bases/0/blocks/1/rank = 2 | bases[0].blocks[1].enc_w.shape: found [3, 4], expected [2, 4]
/bases/0/blocks/1/rank = 5 | bases[0].blocks[1].rank: found 5, expected 1 to 4
/bases/0/blocks/0/rank = 0 | bases[0].blocks[0].rank: found 0, expected 1 to 4
/bases/1/name = "attention" | bases[1].name: found "attention" again, expected another name for every basis
/bases/1/blocks = [] | bases[1].blocks: found 0 blocks, expected 2
/bases/1/blocks/1/dec_b/shape = [1, 6] | bases[1].blocks[1].dec_b.shape: found [1, 6], expected [6]
"#;

#[test]
fn edited_shapes_and_bases() {
    for (pointer, value, refusal) in cases(SHAPES_AND_BASES) {
        assert_eq!(edited(pointer, value), refusal);
    }
}

const TEXTS: &str = r#"
/text = null | text: found nothing, expected how a text becomes the input
/text/tokenizer = "other.json" | files: found no other.json, expected an entry for it, the tokenizer
/text/vocab = 0 | text.vocab: found 0, expected 1 to 16777216
/text/vocab = 9 | text.eos: found 9, expected below 9
/text/bos = 10 | text.bos: found 10, expected below 10
/text/bos = null | text.bos: found nothing, expected the id to put before a text
/text/max_tokens = 5 | text.max_tokens: found 5, expected 3 divided tokens and 1 before them
/shape/class_tokens = 5 | text.max_tokens: found 4, expected 3 divided tokens and 5 before them
/family = "bert" | task: found generation by the family Bert, expected a causal one for it
/task = { "kind": "classification" } | task: found classification by the family Llama, expected one that sees for it
"#;

#[test]
fn edited_texts() {
    for (pointer, value, refusal) in cases(TEXTS) {
        assert_eq!(edited_text(pointer, value), refusal);
    }
    assert!(
        edited_text("/text/tokenizer", json!("../etc"))
            .starts_with("text.tokenizer: found \"../etc\", expected a plain file name")
    );
    let embedding = json!({ "kind": "embedding", "pooling": "mean", "normalize": true });
    assert_eq!(
        edited("/task", embedding),
        "task: found embedding by the family Vit, expected one that reads for it"
    );
    let median = json!({ "kind": "embedding", "pooling": "median", "normalize": true });
    assert!(edited_text("/task", median).contains("unknown variant `median`"));
}

const RUNGS: &str = r#"
/rungs/0/basis = "pca" | rungs[0].basis: found "pca", expected one of ["attention", "plain"]
/rungs/1/bits = 0 | rungs[1].bits: found 0, expected 1 to 65535
/rungs/1/bits = 65536 | rungs[1].bits: found 65536, expected 1 to 65535
/rungs/1/code_bits = 17 | rungs[1].code_bits: found 17, expected 1 to 16
/rungs/1/code_bits = 3 | rungs[1].words: found 4, expected 8, 2 to the code_bits
/rungs/1/words = 5 | rungs[1].words: found 5, expected 4, 2 to the code_bits
/rungs/1/blocks = [] | rungs[1].blocks: found 0 blocks, expected 2
/rungs/1/blocks/1/rank = 4 | rungs[1].blocks[1].rank: found 4, expected 1 to 3
/rungs/1/blocks/1/rank = 0 | rungs[1].blocks[1].rank: found 0, expected 1 to 3
/rungs/1/blocks/1/groups = 0 | rungs[1].blocks[1].groups: found 0, expected 1 to 3
/rungs/1/blocks/1/groups = 4 | rungs[1].blocks[1].groups: found 4, expected 1 to 3
/rungs/1/blocks/1/codebooks = 1 | rungs[1].blocks[1].codebooks: found 1, expected a multiple of 64
"#;

#[test]
fn edited_rungs() {
    for (pointer, value, refusal) in cases(RUNGS) {
        assert_eq!(edited(pointer, value), refusal);
    }
    let swapped = refusal(|dir| {
        edit(dir, |manifest| {
            manifest["rungs"].as_array_mut().unwrap().swap(0, 1)
        })
    });
    assert_eq!(
        swapped,
        "DIR/manifest.json: rungs[1].bits: found 2, expected more than 4, rungs ascending by bits"
    );
}

const PREDICTIONS: &str = r#"
/rungs/2/prediction/0/w/shape = [3, 2] | rungs[2].prediction[0].w.shape: found [3, 2], expected [3, 3]
/rungs/2/prediction/0/b/shape = [9] | rungs[2].prediction[0].b.shape: found [9], expected [3]
/rungs/2/basis = "plain" | rungs[2].blocks[0].rank: found 3, expected 4, all axes of the basis of a rung that predicts
"#;

#[test]
fn edited_predictions() {
    let edited = |pointer, value| edited_of(common::write_predicting, pointer, value);
    for (pointer, value, refusal) in cases(PREDICTIONS) {
        assert_eq!(edited(pointer, value), refusal);
    }
    let counted = |change: fn(&mut Vec<Value>)| {
        common::refusal_of(common::write_predicting, |dir| {
            edit(dir, |manifest| {
                change(manifest["rungs"][2]["prediction"].as_array_mut().unwrap())
            })
        })
    };
    assert_eq!(
        counted(|blocks| blocks.extend(blocks.clone())),
        "DIR/manifest.json: rungs[2].prediction: found 2 blocks, expected 1, every block but the first"
    );
    assert!(
        edited(
            "/rungs/2/prediction/0",
            json!({ "w": { "offset": 0, "shape": [3, 3] } })
        )
        .starts_with("manifest: missing field `b`")
    );
    let outside = |tensor: &str| {
        let tensor = tensor.to_owned();
        common::refusal_of(common::write_predicting, move |dir| {
            edit(dir, |manifest| {
                manifest["rungs"][2]["prediction"][0][&tensor]["offset"] = json!(1 << 20)
            })
        })
    };
    for (tensor, shape) in [("w", "[3, 3]"), ("b", "[3]")] {
        let text = outside(tensor);
        let expected =
            format!("DIR/weights.bin: tensor {shape}: found it at byte 1048576, expected");
        assert!(text.starts_with(&expected), "{text}");
    }
}

/// A block is missing: a third one makes the list too short.
#[test]
fn predictions_of_fewer_blocks() {
    let third = |manifest: &mut Value| {
        manifest["shape"]["blocks"] = json!(3);
        for list in ["bases", "rungs"] {
            for one in manifest[list].as_array_mut().unwrap() {
                let blocks = one["blocks"].as_array_mut().unwrap();
                blocks.push(blocks[0].clone());
            }
        }
        let exact = manifest["exact"].as_array_mut().unwrap();
        exact.push(exact[0].clone());
    };
    let text = common::refusal_of(common::write_predicting, |dir| edit(dir, third));
    assert_eq!(
        text,
        "DIR/manifest.json: rungs[2].prediction: found 1 blocks, expected 2, every block but the first"
    );
}

#[test]
fn an_edit_that_contradicts_nothing_makes_another_bundle() {
    let place = Place::new();
    let hash = common::write(&place.bundle()).hash();
    edit(&place.bundle(), |manifest| manifest["seed"] = json!(8));
    assert_ne!(Bundle::open(&place.bundle()).unwrap().hash(), hash);
}
