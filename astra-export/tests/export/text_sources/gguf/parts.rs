//! Models in several files, as `llama-gguf-split` makes them.

use std::fs;
use std::path::{Path, PathBuf};

use astra_export::family::decoder::Decoder;
use astra_export::source::gguf;
use serde_json::json;

use super::super::{decoder, text};
use super::gguf_of;
use crate::gguf_file::GgufFile;
use crate::models::Random;

/// The parts of a model with a head of its own, which is alone in the last part.
fn split(folder: &Path) -> [PathBuf; 2] {
    let mut first = gguf_of("llama", &Random::new(58).llama(false, false));
    let all = first.tensors.len();
    let head = first.tensors.remove("output.weight").unwrap();
    let mut second = GgufFile::empty();
    second.tensors.insert("output.weight".to_owned(), head);
    for (number, part) in [&mut first, &mut second].into_iter().enumerate() {
        part.set("split.no", json!(number));
        part.set("split.count", json!(2));
        part.set("split.tensors.count", json!(all));
    }
    [("00001", first), ("00002", second)].map(|(number, part)| {
        let path = folder.join(format!("m-{number}-of-00002.gguf"));
        fs::write(&path, part.bytes()).unwrap();
        path
    })
}

fn refusal(path: &Path) -> String {
    gguf::open(path).unwrap_err().to_string()
}

#[test]
fn all_parts_are_read_whichever_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Random::new(58).llama(false, false);
    for block in &mut model.blocks {
        (block.norm1.epsilon, block.norm2.epsilon) = (1e-5, 1e-5);
    }
    model.norm.epsilon = 1e-5;
    let expected = Decoder::from(model);
    let mut hashes = Vec::new();
    for path in split(folder.path()) {
        let imported = gguf::open(&path).unwrap();
        assert_eq!(imported.file, "m-00001-of-00002.gguf");
        hashes.push(imported.sha256);
        assert_eq!(decoder(&text(imported.content)), &expected);
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn a_missing_part_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = split(folder.path());
    fs::remove_file(&second).unwrap();
    let found = refusal(&first);
    assert!(
        found.contains("m-00001-of-00002.gguf: m-00002-of-00002.gguf: found nothing"),
        "{found}"
    );
    assert!(
        found.ends_with("expected all 2 parts of the model in its folder"),
        "{found}"
    );
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = split(folder.path());
    let other = folder.path().join("renamed.gguf");
    fs::copy(&first, &other).unwrap();
    let found = refusal(&other);
    assert!(
        found.contains("split.count: found one of 2 parts of a model, called \"renamed.gguf\""),
        "{found}"
    );
    fs::copy(&first, &second).unwrap();
    let found = refusal(&first);
    assert!(
        found.contains("m-00002-of-00002.gguf: split.no: found 0, expected 1"),
        "{found}"
    );
    let [first, _] = split(folder.path());
    let mut part = GgufFile::empty();
    part.set("split.no", json!(1));
    part.set("split.count", json!(2));
    fs::write(&second, part.bytes()).unwrap();
    let found = refusal(&first);
    assert!(
        found.contains("split.tensors.count: found 29 tensors in all parts, expected 30"),
        "{found}"
    );
}
