//! A Hugging Face directory that a test writes, and what reading it says.

use std::collections::BTreeMap;
use std::path::Path;

use astra_export::source::{Imported, ImportedText, hugging_face};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::{Tensors, text};

/// A directory with what a test wants in it.
pub(super) struct Directory {
    folder: tempfile::TempDir,
    config: Value,
    tensors: Tensors,
}

impl Directory {
    pub(super) fn new(config: Value, tensors: Tensors) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Self {
            folder,
            config,
            tensors,
        };
        directory.write("config.json", &directory.config);
        directory.write("tokenizer.json", &tokenizer());
        directory.save();
        directory
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, value: &Value) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    }

    /// A file of another kind, or a broken one.
    pub(super) fn write_text(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).unwrap();
    }

    fn save(&self) {
        self.save_as("model.safetensors", |_| true);
    }

    /// A file of some of the tensors, by their names; returns the names.
    pub(super) fn save_as(&self, file: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let all: BTreeMap<_, (Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, (dims, values))| (name, (dims.clone(), bytes(values))))
            .collect();
        let views = all.iter().map(|(name, (dims, bytes))| {
            let view = TensorView::new(Dtype::F32, dims.clone(), bytes).unwrap();
            (name.as_str(), view)
        });
        let content = safetensors::serialize(views, None).unwrap();
        std::fs::write(self.path().join(file), content).unwrap();
        all.keys().map(|name| (*name).clone()).collect()
    }

    pub(super) fn import(&self) -> Imported {
        hugging_face::open(self.path()).unwrap()
    }

    pub(super) fn read(&self) -> ImportedText {
        text(self.import().content)
    }

    pub(super) fn refusal(&self) -> String {
        hugging_face::open(self.path()).unwrap_err().to_string()
    }

    /// What is said after a change to the configuration, which is taken back.
    pub(super) fn refusal_of(&self, field: &str, value: Value) -> String {
        let mut config = self.config.clone();
        config[field] = value;
        self.write("config.json", &config);
        let refusal = self.refusal();
        self.write("config.json", &self.config);
        refusal
    }

    /// Every tensor left out and, in turn, of another shape is refused by its name; `optional` ones may be missing.
    pub(super) fn check_every_tensor(&mut self, optional: &[&str]) {
        let names: Vec<String> = self.tensors.keys().cloned().collect();
        for name in names {
            let (dims, values) = self.tensors.remove(&name).unwrap();
            if !optional.iter().any(|optional| name.ends_with(optional)) {
                self.save();
                let refusal = self.refusal();
                assert!(
                    refusal.contains(&name) && refusal.contains("found nothing"),
                    "without {name}: {refusal}"
                );
            }
            let flat = (vec![1, values.len()], values.clone());
            self.tensors.insert(name.clone(), flat);
            self.save();
            let refusal = self.refusal();
            let (found, expected) = (format!("[1, {}]", values.len()), format!("{dims:?}"));
            assert!(
                refusal.contains(&name) && refusal.contains(&found) && refusal.contains(&expected),
                "{name} reshaped: {refusal}"
            );
            self.tensors.insert(name, (dims, values));
        }
        self.save();
    }
}

/// A tokenizer file with special tokens.
fn tokenizer() -> Value {
    json!({
        "added_tokens": [{ "id": 1, "content": "<s>" }, { "id": 2, "content": "</s>" }],
        "post_processor": null,
        "model": { "type": "BPE", "vocab": { "a": 3, "<end>": 4 }, "merges": [] },
    })
}
