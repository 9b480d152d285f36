//! `config_sentence_transformers.json`: the text that is put before every text, and vectors that are cut short.

use std::collections::BTreeMap;

use astra_model::tasks::text::tokenizer::Tokenizer;
use serde::Deserialize;
use serde_json::json;

use super::super::object::Object;
use super::super::text::Text;
use super::super::{Directory, parse};
use crate::source::{Mismatch, SourceError, TOKENIZER};

const FILE: &str = "config_sentence_transformers.json";

/// What is said of the model as a whole.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) prompt: String,
    /// Width that vectors are cut to.
    pub(super) truncate: Option<usize>,
}

/// The prompt of `default_prompt_name`; others are for clients that name them. Fields that are not named here are of no use to the
/// library itself when it reads a model.
pub(super) fn read(directory: &Directory<'_>) -> Result<Whole, SourceError> {
    let Some(mut config) = Object::read(directory, FILE)? else {
        return Ok(Whole::default());
    };
    config.only("model_type", &[json!("SentenceTransformer")])?;
    let prompts: Option<BTreeMap<String, Option<String>>> =
        config.take("prompts", "an object of strings")?;
    let prompts = prompts.unwrap_or_default();
    let prompt = match config.take::<String>("default_prompt_name", "a string")? {
        None => String::new(),
        Some(name) => match prompts.get(&name) {
            Some(prompt) => prompt.clone().unwrap_or_default(),
            // Prompts of these names exist, empty, in every model.
            None if ["query", "document"].contains(&name.as_str()) => String::new(),
            None => {
                let names: Vec<&String> = prompts.keys().collect();
                let expected = format!("one of {names:?}, the names in prompts");
                return Err(config.refusal("default_prompt_name", &json!(name), &expected));
            }
        },
    };
    let truncate: Option<usize> = config.take("truncate_dim", "a number")?;
    if truncate == Some(0) {
        return Err(config.refusal("truncate_dim", &json!(0), "at least 1"));
    }
    Ok(Whole { prompt, truncate })
}

/// As much of `tokenizer.json` as matters here.
#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(default)]
    special: bool,
}

/// Tokens of the prompt, with the special ones before it: `_get_prompt_length` of the library.
pub(super) fn tokens(
    directory: &Directory<'_>,
    text: &Text,
    prompt: &str,
) -> Result<usize, SourceError> {
    let path = directory.dir.join(TOKENIZER);
    let refused = |error: &dyn std::fmt::Display| SourceError::Format {
        path: path.clone(),
        format: "a tokenizer of this model",
        error: error.to_string(),
    };
    let tokenizer = Tokenizer::from_bytes(text.tokenizer.clone(), path.clone(), &text.input);
    let ids = tokenizer.and_then(|tokenizer| tokenizer.encode(prompt));
    let ids = ids.map_err(|error| refused(&error))?;
    let file: TokenizerFile = parse(&path, &text.tokenizer)?;
    let special = |id: &u32| {
        file.added_tokens
            .iter()
            .any(|added| added.special && added.id == *id)
    };
    let ends = ids.last().is_some_and(special);
    let found = ids.len() - usize::from(ends);
    if found < text.input.max_tokens {
        return Ok(found);
    }
    let expected = format!("fewer than {}, the longest text", text.input.max_tokens);
    let mismatch = Mismatch::new("tokens of the prompt", found, expected);
    Err(mismatch.at(&directory.dir.join(FILE)))
}
