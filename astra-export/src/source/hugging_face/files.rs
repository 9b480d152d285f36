//! Which files of a directory hold the weights, and how those that are not read become ones that are.

use std::path::{Path, PathBuf};

use crate::source::{Mismatch, SourceError};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Writes PyTorch's files, one or several, as one that is read.
const FROM_PICKLE: &str = "model.safetensors, which this writes in the directory: python3 -c \"import glob, torch; \
     from safetensors.torch import save_file; save_file({k: v.contiguous().clone() for f in glob.glob('pytorch_model*.bin') \
     for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}, 'model.safetensors')\"";
/// Has a library read what it knows and write what is read.
const BY_TRANSFORMERS: &str =
    "model.safetensors, which from_pretrained and save_pretrained of transformers write";
const MERGED: &str = "model.safetensors of the whole model, which merge_and_unload of peft and save_pretrained write";
/// Writes a tokenizer of any kind as one that is read.
const TOKENIZER_FILE: &str = "tokenizer.json, which this writes in the directory: python3 -c \"from transformers import \
     AutoTokenizer; AutoTokenizer.from_pretrained('.').save_pretrained('.')\"";

/// Weights that are not read: names of files, what they are, what is expected.
const OTHER_WEIGHTS: [(&str, &str, &str); 8] = [
    (
        "pytorch_model.bin",
        "weights pickled by PyTorch",
        FROM_PICKLE,
    ),
    (
        "pytorch_model.bin.index.json",
        "weights pickled by PyTorch",
        FROM_PICKLE,
    ),
    (
        "adapter_model.safetensors",
        "an adapter of another model",
        MERGED,
    ),
    ("adapter_model.bin", "an adapter of another model", MERGED),
    ("tf_model.h5", "weights of TensorFlow", BY_TRANSFORMERS),
    ("flax_model.msgpack", "weights of Flax", BY_TRANSFORMERS),
    (
        "consolidated.safetensors",
        "weights under other names",
        BY_TRANSFORMERS,
    ),
    (
        "consolidated.00.pth",
        "weights under other names",
        BY_TRANSFORMERS,
    ),
];

/// Tokenizers that are not read.
const OTHER_TOKENIZERS: [&str; 6] = [
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tekken.json",
];

/// Where weights are.
pub(super) enum Weights {
    Single(PathBuf),
    /// The index of several files.
    Sharded(PathBuf),
}

/// The weights of `dir`: one file, as in transformers, goes before several.
pub(super) fn weights(dir: &Path) -> Result<Weights, SourceError> {
    let single = dir.join(SINGLE);
    if single.exists() {
        return Ok(Weights::Single(single));
    }
    let index = dir.join(INDEX);
    if index.exists() {
        return Ok(Weights::Sharded(index));
    }
    for (name, found, expected) in OTHER_WEIGHTS {
        let path = dir.join(name);
        if path.exists() {
            return Err(Mismatch::new("weights", found, expected).at(&path));
        }
    }
    let expected = format!("{SINGLE}, or {INDEX} and the files it names");
    Err(Mismatch::missing("weights", expected).at(dir))
}

/// Refuses a directory without `tokenizer.json`.
pub(super) fn check_tokenizer(path: &Path) -> Result<(), SourceError> {
    if path.exists() {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    let others = OTHER_TOKENIZERS.into_iter();
    let others: Vec<&str> = others.filter(|name| dir.join(name).exists()).collect();
    let found = match others.as_slice() {
        [] => "nothing".to_owned(),
        some => some.join(" and "),
    };
    Err(Mismatch::new("tokenizer", found, TOKENIZER_FILE).at(dir))
}
