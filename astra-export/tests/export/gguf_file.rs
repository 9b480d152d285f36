//! Small GGUF files.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::models::{HIDDEN, MLP};
use crate::text_models::{HEAD_DIM, KV_HEADS, POSITIONS, QUERY_HEADS, VOCAB};

#[derive(Clone)]
pub(crate) struct GgufFile {
    metadata: BTreeMap<String, Value>,
    /// Dimensions, slowest first, kind of the values, and their bytes.
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, u32, Vec<u8>)>,
}

impl GgufFile {
    /// The metadata of the random models of these tests.
    pub(crate) fn llama(architecture: &str) -> Self {
        let tokens: Vec<String> = (0..VOCAB)
            .map(|id| match id {
                0 => "<unk>".to_owned(),
                1 => "<s>".to_owned(),
                2 => "</s>".to_owned(),
                id => format!("t{id}"),
            })
            .collect();
        let kinds: Vec<u32> = (0..VOCAB).map(|id| if id < 3 { 3 } else { 1 }).collect();
        let mut file = Self::empty();
        for (key, value) in [
            ("general.architecture", json!(architecture)),
            ("tokenizer.ggml.model", json!("gpt2")),
            ("tokenizer.ggml.pre", json!("smollm")),
            ("tokenizer.ggml.tokens", json!(tokens)),
            ("tokenizer.ggml.token_type", json!(kinds)),
            ("tokenizer.ggml.merges", json!(["t3 t4"])),
            ("tokenizer.ggml.bos_token_id", json!(1)),
            ("tokenizer.ggml.eos_token_id", json!(2)),
            ("tokenizer.ggml.add_bos_token", json!(false)),
            ("tokenizer.chat_template", json!("{{ messages }}")),
        ] {
            file.set(key, value);
        }
        for (key, value) in [
            ("block_count", json!(3)),
            ("context_length", json!(POSITIONS)),
            ("embedding_length", json!(HIDDEN)),
            ("feed_forward_length", json!(MLP)),
            ("attention.head_count", json!(QUERY_HEADS)),
            ("attention.head_count_kv", json!(KV_HEADS)),
            ("attention.key_length", json!(HEAD_DIM)),
            ("attention.layer_norm_rms_epsilon", json!(1e-5)),
            ("rope.freq_base", json!(100.0)),
        ] {
            file.set(&format!("{architecture}.{key}"), value);
        }
        file
    }

    /// Neither metadata nor tensors.
    pub(crate) fn empty() -> Self {
        Self {
            metadata: BTreeMap::new(),
            tensors: BTreeMap::new(),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.metadata.remove(key);
    }

    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.metadata.insert(key.to_owned(), value);
    }

    pub(crate) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.raw(name, dims, 0, bytes.collect());
    }

    pub(crate) fn raw(&mut self, name: &str, dims: &[usize], kind: u32, bytes: Vec<u8>) {
        self.tensors
            .insert(name.to_owned(), (dims.to_vec(), kind, bytes));
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            text(&mut file, key);
            file.extend(kind(value).to_le_bytes());
            put(&mut file, value);
        }
        let mut data = Vec::new();
        for (name, (dims, kind, bytes)) in &self.tensors {
            text(&mut file, name);
            file.extend((dims.len() as u32).to_le_bytes());
            for &dim in dims.iter().rev() {
                file.extend((dim as u64).to_le_bytes());
            }
            file.extend(kind.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            data.extend(bytes);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(data);
        file
    }
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}

/// Types of values: u32, f32, bool, string and array.
fn kind(value: &Value) -> u32 {
    match value {
        Value::Number(number) if number.is_u64() => 4,
        Value::Number(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        other => panic!("{other}"),
    }
}

fn put(file: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(number) => file.extend((number as u32).to_le_bytes()),
            None => file.extend((number.as_f64().unwrap() as f32).to_le_bytes()),
        },
        Value::Bool(flag) => file.push(u8::from(*flag)),
        Value::String(string) => text(file, string),
        Value::Array(values) => {
            file.extend(kind(&values[0]).to_le_bytes());
            file.extend((values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| put(file, value));
        }
        other => panic!("{other}"),
    }
}
