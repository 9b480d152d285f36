//! A tokenizer file out of the metadata: byte-level BPE, as GPT-2's.

use serde_json::{Map, Value as Json, json};

use super::Mismatch;
use super::reader::Gguf;

/// Kinds of tokens that are found in a text before it is divided: control tokens, and those added by whoever trained the
/// model.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// Llama 3's division of text into words.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen2's.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `tokenizer.json` in the format of the `tokenizers` library.
pub(super) fn write(gguf: &Gguf<'_>) -> Result<Vec<u8>, Mismatch> {
    let key = "tokenizer.ggml.model";
    let model = gguf.text(key)?;
    if model != "gpt2" {
        let expected = "\"gpt2\": other tokenizers than byte-level BPE are not supported";
        return Err(Mismatch::new(key, format!("{model:?}"), expected));
    }
    let words = words(gguf)?;
    let mut vocab = Map::new();
    let mut added = Vec::new();
    let kinds = gguf.sizes("tokenizer.ggml.token_type");
    for (id, token) in gguf.texts("tokenizer.ggml.tokens")?.enumerate() {
        vocab.insert(token.to_owned(), json!(id));
        let kind = kinds.get(id).copied().unwrap_or_default();
        if matches!(kind, CONTROL | USER_DEFINED) {
            added.push(json!({
                "id": id, "content": token, "special": kind == CONTROL,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            }));
        }
    }
    let merges = gguf.texts("tokenizer.ggml.merges")?;
    let merges: Vec<Json> = merges
        .filter_map(|merge| merge.split_once(' '))
        .map(|(left, right)| json!([left, right]))
        .collect();
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": words.normalizer,
        "pre_tokenizer": words.pre_tokenizer,
        "post_processor": null,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": words.ignore_merges, "vocab": vocab, "merges": merges,
        },
    });
    // Keys are strings and numbers are finite: it cannot fail.
    Ok(serde_json::to_vec(&file).unwrap_or_default())
}

/// How text is divided into words, within which tokens are merged.
struct Words {
    normalizer: Json,
    pre_tokenizer: Json,
    /// Whether a word that is a token is taken without merging.
    ignore_merges: bool,
}

fn words(gguf: &Gguf<'_>) -> Result<Words, Mismatch> {
    let plain = |pre_tokenizer| Words {
        normalizer: Json::Null,
        pre_tokenizer,
        ignore_merges: false,
    };
    let key = "tokenizer.ggml.pre";
    let name = match gguf.get(key) {
        Some(_) => gguf.text(key)?,
        None => "default",
    };
    let divided = |pattern: &str| {
        let split = json!({
            "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false,
        });
        sequence(&[split, byte_level(false)])
    };
    Ok(match name {
        "smollm" => {
            let digits = json!({ "type": "Digits", "individual_digits": true });
            plain(sequence(&[digits, byte_level(true)]))
        }
        "gpt-2" | "default" => plain(byte_level(true)),
        "llama-bpe" => Words {
            ignore_merges: true,
            ..plain(divided(LLAMA3))
        },
        "qwen2" => Words {
            normalizer: json!({ "type": "NFC" }),
            ..plain(divided(QWEN2))
        },
        other => {
            let expected = "one of \"smollm\", \"gpt-2\", \"default\", \"llama-bpe\", \"qwen2\"";
            return Err(Mismatch::new(key, format!("{other:?}"), expected));
        }
    })
}

/// Bytes as printable characters; with `use_regex`, after dividing text as GPT-2 does.
fn byte_level(use_regex: bool) -> Json {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex,
    })
}

fn sequence(steps: &[Json]) -> Json {
    json!({ "type": "Sequence", "pretokenizers": steps })
}
