//! A tokenizer file out of a SentencePiece vocabulary (`tokenizer.ggml.model` `llama`): pieces with scores, no merges.
//!
//! SentencePiece's BPE joins the neighbours whose joined piece has the highest score, as `llm_tokenizer_spm` in llama.cpp does.
//! A merge rule of the `tokenizers` library is a pair and its rank, so every way to cut a piece in two is a rule, ranked by the
//! score of the piece. Of pairs with equal scores SentencePiece joins the leftmost in the text, which ranks cannot say: files with
//! pieces of equal scores cost a warning.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{BYTE, NORMAL, Vocabulary};
use crate::source::Mismatch;
use crate::source::gguf::reader::Gguf;

/// What stands for a blank.
const BLANK: &str = "\u{2581}";
const SCORES: &str = "tokenizer.ggml.scores";

/// `normalizer`, `decoder` and `model` of `tokenizer.json`.
pub(super) struct Parts {
    pub(super) normalizer: Json,
    pub(super) decoder: Json,
    pub(super) model: Json,
    pub(super) warning: Option<String>,
}

pub(super) fn parts(gguf: &Gguf<'_>, vocabulary: &Vocabulary<'_>) -> Result<Parts, Mismatch> {
    let key = "tokenizer.ggml.remove_extra_whitespaces";
    if gguf.flag(key)? == Some(true) {
        let expected = "false: removing blanks is not supported";
        return Err(Mismatch::new(key, true, expected));
    }
    let scores = gguf.numbers(SCORES, vocabulary.tokens.len())?;
    let scores = scores.ok_or_else(|| Mismatch::missing(SCORES, "a score of every token"))?;
    let prefix = gguf
        .flag("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(true);
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": BLANK });
    let prepend = json!({ "type": "Prepend", "prepend": BLANK });
    let mut normalizers = vec![replace];
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": BLANK }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        normalizers.insert(0, prepend);
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let unknown = gguf.id("tokenizer.ggml.unknown_token_id", vocabulary.tokens.len())?;
    let unknown = usize::try_from(unknown.unwrap_or(0)).unwrap_or(0);
    let (merges, ties) = merges(vocabulary, &scores);
    let warning = (ties > 0).then(|| {
        format!(
            "{SCORES}: found {ties} pieces with the score of another: texts may be split otherwise than by \
             llama.cpp, which joins the leftmost of them"
        )
    });
    Ok(Parts {
        warning,
        normalizer: json!({ "type": "Sequence", "normalizers": normalizers }),
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        model: json!({
            "type": "BPE", "dropout": null, "unk_token": vocabulary.tokens.get(unknown),
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": vocabulary.types.contains(&BYTE), "ignore_merges": false,
            "vocab": vocabulary.json(), "merges": merges,
        }),
    })
}

/// Every pair of pieces that makes a piece, the highest score of the whole first, and the number of wholes that have the score of
/// another.
fn merges(vocabulary: &Vocabulary<'_>, scores: &[f64]) -> (Vec<[String; 2]>, usize) {
    let pieces = vocabulary.tokens.iter().zip(&vocabulary.types).zip(scores);
    let pieces: BTreeMap<&str, f64> = pieces
        .filter(|((_, kind), _)| **kind == NORMAL)
        .map(|((text, _), score)| (text.as_ref(), *score))
        .collect();
    let mut found: Vec<(f64, &str, &str)> = Vec::new();
    for (&text, &score) in &pieces {
        let cuts = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
        let known = cuts.filter(|(l, r)| pieces.contains_key(l) && pieces.contains_key(r));
        found.extend(known.map(|(left, right)| (score, left, right)));
    }
    // The same order every time.
    found.sort_by(|a, b| {
        let by_score = b.0.total_cmp(&a.0);
        by_score.then_with(|| (a.1.len(), a.1, a.2).cmp(&(b.1.len(), b.1, b.2)))
    });
    let merge = |(_, left, right): (f64, &str, &str)| [left.to_owned(), right.to_owned()];
    let pairs = found.iter().zip(found.iter().skip(1));
    let same_score =
        pairs.filter(|(a, b)| a.0 == b.0 && [a.1, a.2].concat() != [b.1, b.2].concat());
    let ties = same_score.count();
    (found.into_iter().map(merge).collect(), ties)
}
