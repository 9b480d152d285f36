//! GGUF files of Llama (`general.architecture` `llama`) and Qwen2 (`qwen2`).
//!
//! - `parts`: one file, or those of a split model
//! - `reader`: the container
//! - `metadata`: typed values of it
//! - `hyperparameters`: the keys of an architecture, sorted into read, harmless and refused
//! - `quantized`: types of values
//! - `blocks`: their integers
//! - `tokenizer`: a tokenizer file out of the metadata
//!
//! Files of `llama` keep the rows of queries and keys in another order than all other files, in which rotary positions turn
//! neighbours; that is undone.

mod blocks;
mod hyperparameters;
mod metadata;
mod parts;
mod quantized;
mod reader;
mod tokenizer;

use std::path::Path;

use astra_bundle::TextInput;

use crate::narrow::Blocks;

use super::error::{Mismatch, SourceError};
use super::llama::{self, Names, Pairs};
use super::tensors::Tensors;
use super::{Content, Imported, ImportedText, TOKENIZER, Tensor, TextModel};
use hyperparameters::Keys;
use parts::Parts;
use reader::{Gguf, Value};
use tokenizer::Tokenizer;

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
const ARCHITECTURE: &str = "general.architecture";
const BOS: &str = "tokenizer.ggml.bos_token_id";
/// Ids of tokens that end a text, a turn or a message, and of those of code models at which llama.cpp ends too.
const END_IDS: [&str; 6] = [
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
];

/// Reads the model in `path`; of a split model, the path of any part.
///
/// # Errors
/// [`SourceError`]
pub fn open(path: &Path) -> Result<Imported, SourceError> {
    let parts = Parts::read(path)?;
    let path = parts.path();
    let gguf = parts.gguf()?;
    let (text, warnings) = import(&gguf).map_err(|mismatch| mismatch.at(path))?;
    let file = path.file_name().unwrap_or_default();
    Ok(Imported {
        content: Content::Text(text),
        file: file.to_string_lossy().into_owned(),
        sha256: parts.digest(),
        warnings: warnings
            .iter()
            .map(|warning| format!("{}: {warning}", path.display()))
            .collect(),
    })
}

impl Tensors for Gguf<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor, Mismatch> {
        Gguf::tensor(self, name)
    }

    fn blocks(&self, name: &str, dims: [usize; 2]) -> Result<Option<Blocks>, Mismatch> {
        Gguf::blocks(self, name, dims)
    }

    fn contains(&self, name: &str) -> bool {
        Gguf::contains(self, name)
    }
}

fn import(gguf: &Gguf<'_>) -> Result<(ImportedText, Vec<String>), Mismatch> {
    let (architecture, pairs) = architecture(gguf)?;
    let keys = Keys { gguf, architecture };
    // What can be refused cheaply is refused before weights are read.
    keys.check()?;
    let dims = keys.dimensions()?;
    let tokenizer = tokenizer::read(gguf)?;
    let (max_tokens, limited) = keys.max_tokens()?;
    let input = text_input(gguf, &tokenizer, dims.vocab, max_tokens)?;
    let mut warnings: Vec<String> = limited.into_iter().chain(tokenizer.warning).collect();
    if input.eos.is_empty() {
        warnings.push(format!(
            "{}: found nothing, and no token that ends a turn: generations end at their longest",
            END_IDS[0]
        ));
    }
    let mut model = llama::read(&dims, &NAMES, pairs, gguf)?;
    keys.scale(&mut model.frequencies)?;
    gguf.check_all_read()?;
    let text = ImportedText {
        input,
        template_from: None,
        tokenizer: tokenizer.file,
        model: TextModel::Decoder(model.into()),
    };
    Ok((text, warnings))
}

/// The architecture, and which channels of a head its files turn together.
fn architecture<'a>(gguf: &'a Gguf<'_>) -> Result<(&'a str, Pairs), Mismatch> {
    let kind = gguf.optional_text("general.type")?;
    if let Some(other) = kind.filter(|kind| *kind != "model") {
        let expected = "\"model\": the file with all weights of a language model";
        return Err(Mismatch::new(
            "general.type",
            format!("{other:?}"),
            expected,
        ));
    }
    let architecture = gguf.text(ARCHITECTURE)?;
    match architecture {
        "llama" => Ok((architecture, Pairs::Neighbours)),
        "qwen2" => Ok((architecture, Pairs::Halves)),
        other => {
            let expected = "\"llama\" or \"qwen2\"";
            Err(Mismatch::new(ARCHITECTURE, format!("{other:?}"), expected))
        }
    }
}

fn text_input(
    gguf: &Gguf<'_>,
    tokenizer: &Tokenizer,
    vocab: usize,
    max_tokens: usize,
) -> Result<TextInput, Mismatch> {
    let tokens = gguf.texts("tokenizer.ggml.tokens")?;
    let token = |id: Option<u32>| {
        let token = tokens.get(usize::try_from(id?).ok()?)?;
        Some((*token).to_owned())
    };
    let bos = gguf.id(BOS, vocab)?;
    let mut eos = Vec::new();
    for key in END_IDS {
        eos.extend(gguf.id(key, vocab)?.filter(|id| !eos.contains(id)));
    }
    let named = eos.first().copied();
    let ends = tokenizer.ends.iter().filter(|id| !eos.contains(id));
    let ends: Vec<u32> = ends.copied().collect();
    eos.extend(ends);
    Ok(TextInput {
        tokenizer: TOKENIZER.to_owned(),
        vocab,
        max_tokens,
        bos,
        bos_token: token(bos),
        eos_token: token(named),
        eos,
        add_bos: adds_bos(gguf, tokenizer, bos)?,
        chat_template: match gguf.get("tokenizer.chat_template") {
            Some(Value::Text(template)) => Some(template.clone()),
            _ => None,
        },
        rotary: true,
        learned_positions: false,
    })
}

/// Whether a text begins with BOS. What llama.cpp does besides that is refused: it ends texts with EOS, suppresses tokens.
fn adds_bos(gguf: &Gguf<'_>, tokenizer: &Tokenizer, bos: Option<u32>) -> Result<bool, Mismatch> {
    let key = "tokenizer.ggml.add_eos_token";
    if gguf.flag(key)? == Some(true) {
        let expected = "false: prompts that end with EOS are not supported";
        return Err(Mismatch::new(key, true, expected));
    }
    let key = "tokenizer.ggml.suppress_tokens";
    if let Some(numbers) = gguf.numbers(key, 0)?.filter(|numbers| !numbers.is_empty()) {
        let found = format!("{} tokens", numbers.len());
        let expected = "none: suppressing tokens is not supported";
        return Err(Mismatch::new(key, found, expected));
    }
    let adds = gguf.flag("tokenizer.ggml.add_bos_token")?;
    let adds = adds.unwrap_or(tokenizer.add_bos);
    if adds && bos.is_none() {
        let expected = "the id of BOS, which texts begin with";
        return Err(Mismatch::missing(BOS, expected));
    }
    Ok(adds)
}
