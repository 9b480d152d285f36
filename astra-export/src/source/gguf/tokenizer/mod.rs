//! A tokenizer file out of the metadata.
//!
//! - `splitting`: byte-level BPE: how text is split before merging
//! - `sentence_piece`: pieces with scores

mod sentence_piece;
mod splitting;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::reader::Gguf;
use crate::source::Mismatch;
use crate::source::end_tokens::{Entry, end_ids};
use splitting::Splitting;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";

/// Types of tokens. Those that are not normal, unused or bytes are found in a text before it is split.
const NORMAL: u64 = 1;
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const BYTE: u64 = 6;

/// What a file says of its tokens.
pub(super) struct Tokenizer {
    /// `tokenizer.json` in the format of the `tokenizers` library.
    pub(super) file: Vec<u8>,
    /// Whether a text begins with BOS where the file does not say.
    pub(super) add_bos: bool,
    /// Tokens that end a generation by their text.
    pub(super) ends: Vec<u32>,
    /// What the user should know.
    pub(super) warning: Option<String>,
}

/// The tokens of a file.
struct Vocabulary<'a> {
    tokens: Vec<Cow<'a, str>>,
    types: Vec<u64>,
}

/// Reads the tokenizer of a file.
pub(super) fn read(gguf: &Gguf<'_>) -> Result<Tokenizer, Mismatch> {
    let vocabulary = Vocabulary::read(gguf)?;
    let ends = vocabulary.ends();
    match gguf.text(MODEL)? {
        "gpt2" => {
            let name = gguf.optional_text(PRE)?;
            let splitting = Splitting::of(PRE, name)?;
            let warning = name.is_none().then(|| {
                format!(
                    "{PRE}: found nothing, taking llama.cpp's default splitting: answers may be worse \
                     than those of a file converted again"
                )
            });
            Ok(Tokenizer {
                file: byte_level_bpe(gguf, &vocabulary, name, splitting)?,
                add_bos: splitting.add_bos,
                ends,
                warning,
            })
        }
        "llama" => {
            let parts = sentence_piece::parts(gguf, &vocabulary)?;
            let file = vocabulary.file(parts.normalizer, Json::Null, parts.decoder, parts.model);
            Ok(Tokenizer {
                file,
                add_bos: true,
                ends,
                warning: parts.warning,
            })
        }
        other => {
            let expected = "\"gpt2\" (byte-level BPE) or \"llama\" (SentencePiece)";
            Err(Mismatch::new(MODEL, format!("{other:?}"), expected))
        }
    }
}

fn byte_level_bpe(
    gguf: &Gguf<'_>,
    vocabulary: &Vocabulary<'_>,
    name: Option<&str>,
    splitting: Splitting,
) -> Result<Vec<u8>, Mismatch> {
    let merges = gguf.texts(MERGES)?;
    // The left part may begin with a blank, in vocabularies that are not byte-level.
    let merge = |merge: &&str| {
        let cut = merge.char_indices().skip(1).find(|(_, c)| *c == ' ');
        let (left, right) =
            cut.and_then(|(at, _)| Some((merge.get(..at)?, merge.get(at + 1..)?)))?;
        Some(json!([left, right]))
    };
    let merges: Option<Vec<Json>> = merges.iter().map(merge).collect();
    let merges =
        merges.ok_or_else(|| Mismatch::new(MERGES, "a rule of one part", "rules of two parts"))?;
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": splitting.ignore_merges, "vocab": vocabulary.json(), "merges": merges,
    });
    // As in the tokenizer of Qwen2; llama.cpp takes characters as they are composed in the text.
    let normalizer = match name {
        Some("qwen2") => json!({ "type": "NFC" }),
        _ => Json::Null,
    };
    Ok(vocabulary.file(
        normalizer,
        splitting.pre_tokenizer(),
        byte_level(true),
        model,
    ))
}

/// Bytes as printable characters; with `use_regex`, after splitting text as GPT-2 does.
fn byte_level(use_regex: bool) -> Json {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex,
    })
}

impl<'a> Vocabulary<'a> {
    fn read(gguf: &'a Gguf<'_>) -> Result<Self, Mismatch> {
        // As llama.cpp names tokens without text.
        let named = |(id, text): (usize, &'a str)| match text {
            "" => Cow::Owned(format!("[EMPTY_{id}]")),
            text => Cow::Borrowed(text),
        };
        let tokens = gguf.texts(TOKENS)?.into_iter().enumerate().map(named);
        let tokens: Vec<Cow<'_, str>> = tokens.collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        if let Some(twice) = tokens
            .iter()
            .map(Cow::as_ref)
            .find(|&token| !seen.insert(token))
        {
            let found = format!("the token {twice:?} twice");
            return Err(Mismatch::new(TOKENS, found, "every token once"));
        }
        let types = gguf.numbers("tokenizer.ggml.token_type", tokens.len())?;
        let types = match types {
            Some(types) => types.into_iter().map(|number| number as u64).collect(),
            None => vec![NORMAL; tokens.len()],
        };
        Ok(Self { tokens, types })
    }

    fn json(&self) -> Map<String, Json> {
        let tokens = self.tokens.iter().enumerate();
        tokens
            .map(|(id, token)| (token.to_string(), json!(id)))
            .collect()
    }

    fn entries(&self) -> impl Iterator<Item = (u32, &str, u64)> {
        let tokens = self.tokens.iter().zip(&self.types).zip(0..);
        tokens.map(|((token, kind), id)| (id, token.as_ref(), *kind))
    }

    fn ends(&self) -> Vec<u32> {
        end_ids(self.entries().map(|(id, text, kind)| Entry {
            id,
            text,
            added: matches!(kind, UNKNOWN | CONTROL | USER_DEFINED),
        }))
    }

    /// `tokenizer.json`. Tokens that end a generation are special ones whatever their type, as in llama.cpp.
    fn file(&self, normalizer: Json, pre_tokenizer: Json, decoder: Json, model: Json) -> Vec<u8> {
        let ends = self.ends();
        let added = self.entries().filter_map(|(id, token, kind)| {
            let special = matches!(kind, UNKNOWN | CONTROL) || ends.contains(&id);
            (special || kind == USER_DEFINED).then(|| {
                json!({
                    "id": id, "content": token, "special": special,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                })
            })
        });
        let file = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added.collect::<Vec<_>>(),
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": null,
            "decoder": decoder,
            "model": model,
        });
        // Keys are strings and numbers are finite: it cannot fail.
        serde_json::to_vec(&file).unwrap_or_default()
    }
}
