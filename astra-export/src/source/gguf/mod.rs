//! GGUF files of Llama (`general.architecture` `llama`) and Qwen2 (`qwen2`), in F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K and Q6_K.
//!
//! - `reader`: the container
//! - `quantized`: float32 of quantized blocks
//! - `tokenizer`: a tokenizer file out of the metadata
//!
//! Files of `llama` keep the rows of queries and keys in another order than everybody else, in which rotary positions turn
//! neighbours; that is undone.

mod quantized;
mod reader;
mod tokenizer;

use std::path::Path;

use astra_bundle::{Sha256Digest, Task, TextInput};

use super::error::{Mismatch, SourceError, read};
use super::llama::{self, Dimensions, Names, Pairs};
use super::tensors::Tensors;
use super::{Content, Imported, ImportedText, MAX_TOKENS, TOKENIZER, Tensor, TextModel};
use reader::{Gguf, Value};

const NAMES: Names = Names {
    embedding: "token_embd",
    norm: "output_norm",
    head: "output",
    layers: "blk",
    norm1: "attn_norm",
    query: "attn_q",
    key: "attn_k",
    value: "attn_v",
    output: "attn_output",
    norm2: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    down: "ffn_down",
};
/// Divisors of the frequencies of rotary positions, by channel.
const ROPE_FACTORS: &str = "rope_freqs.weight";
/// Ids of tokens that end a text, a turn, or what a model says of its own accord.
const END_IDS: [&str; 3] = [
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
];

/// Reads the model in `path`.
///
/// # Errors
/// [`SourceError`]
pub fn open(path: &Path) -> Result<Imported, SourceError> {
    let bytes = read(path)?;
    let gguf = Gguf::parse(&bytes).map_err(|error| SourceError::Format {
        path: path.to_owned(),
        format: "a GGUF file",
        error,
    })?;
    let text = import(&gguf).map_err(|mismatch| mismatch.at(path))?;
    let file = path.file_name().unwrap_or_default();
    Ok(Imported {
        content: Content::Text(text),
        file: file.to_string_lossy().into_owned(),
        sha256: Sha256Digest::of(&bytes),
    })
}

impl Tensors for Gguf<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor, Mismatch> {
        Gguf::tensor(self, name)
    }

    fn contains(&self, name: &str) -> bool {
        Gguf::contains(self, name)
    }
}

fn import(gguf: &Gguf<'_>) -> Result<ImportedText, Mismatch> {
    let key = "general.architecture";
    let architecture = gguf.text(key)?;
    let pairs = match architecture {
        "llama" => Pairs::Neighbours,
        "qwen2" => Pairs::Halves,
        other => {
            let expected = "\"llama\" or \"qwen2\"";
            return Err(Mismatch::new(key, format!("{other:?}"), expected));
        }
    };
    let of = |name: &str| format!("{architecture}.{name}");
    refuse_scaling(gguf, &of("rope.scaling.type"))?;
    let dims = dimensions(gguf, &of)?;
    let mut model = llama::read(&dims, &NAMES, pairs, gguf)?;
    if gguf.contains(ROPE_FACTORS) {
        let factors = gguf.values(ROPE_FACTORS, &[dims.head_dim / 2])?;
        for (frequency, factor) in model.frequencies.iter_mut().zip(factors) {
            *frequency /= f64::from(factor);
        }
    }
    let max_tokens = gguf.size(&of("context_length"))?.min(MAX_TOKENS);
    Ok(ImportedText {
        input: text_input(gguf, dims.vocab, max_tokens)?,
        tokenizer: tokenizer::write(gguf)?,
        task: Task::Generation,
        model: TextModel::Decoder(model.into()),
    })
}

fn dimensions(gguf: &Gguf<'_>, of: &impl Fn(&str) -> String) -> Result<Dimensions, Mismatch> {
    let heads = gguf.size(&of("attention.head_count"))?;
    let hidden = gguf.size(&of("embedding_length"))?;
    let or = |name: &str, other: usize| match gguf.get(&of(name)) {
        Some(_) => gguf.size(&of(name)),
        None => Ok(other),
    };
    let head_dim = or("attention.key_length", hidden / heads.max(1))?;
    let turned = or("rope.dimension_count", head_dim)?;
    if turned != head_dim {
        let expected = format!("{head_dim}, all channels of a head");
        return Err(Mismatch::new(of("rope.dimension_count"), turned, expected));
    }
    let experts = or("expert_count", 0)?;
    if experts > 0 {
        let expected = "0: mixtures of experts are not supported";
        return Err(Mismatch::new(of("expert_count"), experts, expected));
    }
    Ok(Dimensions {
        hidden,
        layers: gguf.size(&of("block_count"))?,
        heads,
        kv_heads: or("attention.head_count_kv", heads)?,
        head_dim,
        mlp: gguf.size(&of("feed_forward_length"))?,
        vocab: gguf.texts("tokenizer.ggml.tokens")?.count(),
        rope_base: gguf.float_or(&of("rope.freq_base"), 10_000.0)?,
        epsilon: gguf.float_or(&of("attention.layer_norm_rms_epsilon"), 1e-5)? as f32,
    })
}

fn refuse_scaling(gguf: &Gguf<'_>, key: &str) -> Result<(), Mismatch> {
    match gguf.get(key) {
        None => Ok(()),
        Some(Value::Text(none)) if none == "none" => Ok(()),
        Some(other) => {
            let expected = "none: scaled positions are not supported";
            Err(Mismatch::new(key, format!("{other:?}"), expected))
        }
    }
}

fn text_input(gguf: &Gguf<'_>, vocab: usize, max_tokens: usize) -> Result<TextInput, Mismatch> {
    let tokens: Vec<&str> = gguf.texts("tokenizer.ggml.tokens")?.collect();
    let id = |key: &str| match gguf.get(key) {
        Some(_) => gguf.id(key, vocab).map(Some),
        None => Ok(None),
    };
    let token = |id: Option<u32>| {
        let token = tokens.get(usize::try_from(id?).ok()?)?;
        Some((*token).to_owned())
    };
    let bos = id("tokenizer.ggml.bos_token_id")?;
    let mut eos = Vec::new();
    for key in END_IDS {
        eos.extend(id(key)?.filter(|id| !eos.contains(id)));
    }
    let chat_template = match gguf.get("tokenizer.chat_template") {
        Some(Value::Text(template)) => Some(template.clone()),
        _ => None,
    };
    Ok(TextInput {
        tokenizer: TOKENIZER.to_owned(),
        vocab,
        max_tokens,
        bos,
        bos_token: token(bos),
        eos_token: token(eos.first().copied()),
        eos,
        add_bos: bos.is_some() && gguf.flag("tokenizer.ggml.add_bos_token"),
        chat_template,
        rotary: true,
        learned_positions: false,
    })
}

impl Gguf<'_> {
    fn wanted(&self, key: &str, expected: &str) -> Result<&Value, Mismatch> {
        self.get(key)
            .ok_or_else(|| Mismatch::missing(key, expected))
    }

    fn text(&self, key: &str) -> Result<&str, Mismatch> {
        match self.wanted(key, "a string")? {
            Value::Text(text) => Ok(text),
            other => Err(Mismatch::new(key, format!("{other:?}"), "a string")),
        }
    }

    fn size(&self, key: &str) -> Result<usize, Mismatch> {
        let expected = "a whole number";
        let value = self.wanted(key, expected)?;
        let size = match value {
            Value::Unsigned(value) => usize::try_from(*value).ok(),
            Value::Signed(value) => usize::try_from(*value).ok(),
            _ => None,
        };
        size.ok_or_else(|| Mismatch::new(key, format!("{value:?}"), expected))
    }

    fn id(&self, key: &str, vocab: usize) -> Result<u32, Mismatch> {
        let id = self.size(key)?;
        let known = u32::try_from(id).ok().filter(|_| id < vocab);
        known.ok_or_else(|| Mismatch::new(key, id, format!("below {vocab}")))
    }

    fn float_or(&self, key: &str, other: f64) -> Result<f64, Mismatch> {
        match self.get(key) {
            None => Ok(other),
            Some(Value::Float(value)) => Ok(*value),
            Some(value) => Err(Mismatch::new(key, format!("{value:?}"), "a number")),
        }
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Bool(true))
    }

    fn texts(&self, key: &str) -> Result<impl Iterator<Item = &str>, Mismatch> {
        let expected = "an array of strings";
        match self.wanted(key, expected)? {
            Value::Array(values) => Ok(values.iter().map(|value| match value {
                Value::Text(text) => text.as_str(),
                _ => "",
            })),
            other => Err(Mismatch::new(key, format!("{other:?}"), expected)),
        }
    }

    fn sizes(&self, key: &str) -> Vec<u64> {
        let Some(Value::Array(values)) = self.get(key) else {
            return Vec::new();
        };
        let number = |value: &Value| match value {
            Value::Unsigned(value) => *value,
            Value::Signed(value) => u64::try_from(*value).unwrap_or(0),
            _ => 0,
        };
        values.iter().map(number).collect()
    }
}
