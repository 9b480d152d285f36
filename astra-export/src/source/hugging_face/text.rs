//! Tokenizer, special tokens and chat template of a directory.

use std::collections::BTreeMap;

use astra_bundle::TextInput;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Content, Directory};
use crate::source::error::read as read_file;
use crate::source::{ImportedText, MAX_TOKENS, Mismatch, SourceError, TOKENIZER, TextModel};

/// What there is besides weights.
pub(super) struct Text {
    /// Without the kind of positions.
    pub(super) input: TextInput,
    pub(super) tokenizer: Vec<u8>,
}

impl Text {
    /// Together with the model it is for.
    pub(super) fn of(self, model: TextModel) -> Content {
        Content::Text(ImportedText {
            model,
            input: self.input,
            tokenizer: self.tokenizer,
        })
    }
}

/// `tokenizer_config.json`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    add_bos_token: bool,
    chat_template: Option<Template>,
}

/// A token as text, or with how it is found.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Full { content: String },
}

/// One template, or several by name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Template {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

/// `config.json` and `generation_config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ids {
    bos_token_id: Option<u32>,
    eos_token_id: Option<OneOrMany>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

/// As much of `tokenizer.json` as matters here.
#[derive(Debug, Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<Added>,
    post_processor: Option<Json>,
    model: Model,
}

#[derive(Debug, Deserialize)]
struct Added {
    id: u32,
    content: String,
}

#[derive(Debug, Deserialize)]
struct Model {
    vocab: Option<Vocabulary>,
}

/// Of some kinds of model it is a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Vocabulary {
    ById(BTreeMap<String, u32>),
    Other(serde::de::IgnoredAny),
}

/// Reads what goes with a model of `vocab` tokens that takes texts of up to `limit` tokens.
pub(super) fn read(
    directory: &Directory<'_>,
    vocab: usize,
    limit: usize,
) -> Result<Text, SourceError> {
    let path = directory.dir.join(TOKENIZER);
    let tokenizer = read_file(&path)?;
    let file: TokenizerFile = super::parse(&path, &tokenizer)?;
    let config: TokenizerConfig = directory
        .optional("tokenizer_config.json")?
        .unwrap_or_default();
    let ids: [Ids; 2] = [
        directory.config()?,
        directory
            .optional("generation_config.json")?
            .unwrap_or_default(),
    ];
    let bos_token = config.bos_token.map(Token::into_text);
    let eos_token = config.eos_token.map(Token::into_text);
    let bos = bos_token.as_deref().and_then(|token| file.id(token));
    let bos = bos.or(ids.iter().find_map(|ids| ids.bos_token_id));
    let mut eos: Vec<u32> = eos_token
        .iter()
        .filter_map(|token| file.id(token))
        .collect();
    for id in ids
        .into_iter()
        .filter_map(|ids| ids.eos_token_id)
        .flat_map(OneOrMany::into_vec)
    {
        if !eos.contains(&id) {
            eos.push(id);
        }
    }
    for id in bos.iter().chain(&eos) {
        if usize::try_from(*id).is_ok_and(|id| id >= vocab) {
            let expected = format!("below {vocab}, the size of the vocabulary");
            return Err(Mismatch::new("id of a special token", id, expected).at(&path));
        }
    }
    Ok(Text {
        input: TextInput {
            tokenizer: TOKENIZER.to_owned(),
            vocab,
            max_tokens: limit.min(MAX_TOKENS),
            add_bos: config.add_bos_token && bos.is_some() && !file.adds(bos_token.as_deref()),
            bos,
            eos,
            chat_template: config.chat_template.and_then(Template::into_text),
            bos_token,
            eos_token,
            rotary: false,
            learned_positions: false,
        },
        tokenizer,
    })
}

/// The longest text that the tokenizer's own configuration tells, where it tells a sensible one.
pub(super) fn model_max_length(directory: &Directory<'_>) -> Result<Option<usize>, SourceError> {
    /// Without a limit the `transformers` library writes 10^30.
    #[derive(Default, Deserialize)]
    struct Limit {
        model_max_length: Option<f64>,
    }
    let limit: Limit = directory
        .optional("tokenizer_config.json")?
        .unwrap_or_default();
    let most = limit.model_max_length.filter(|most| *most >= 1.0);
    Ok(most.map(|most| most as usize))
}

impl TokenizerFile {
    fn id(&self, token: &str) -> Option<u32> {
        let added = self
            .added_tokens
            .iter()
            .find(|added| added.content == token);
        let vocabulary = match &self.model.vocab {
            Some(Vocabulary::ById(ids)) => ids.get(token).copied(),
            _ => None,
        };
        added.map(|added| added.id).or(vocabulary)
    }

    /// Whether the post-processor puts `token` around texts.
    fn adds(&self, token: Option<&str>) -> bool {
        let Some((post_processor, token)) = self.post_processor.as_ref().zip(token) else {
            return false;
        };
        mentions(post_processor, token)
    }
}

fn mentions(json: &Json, text: &str) -> bool {
    match json {
        Json::String(found) => found == text,
        Json::Array(items) => items.iter().any(|item| mentions(item, text)),
        Json::Object(fields) => fields.values().any(|field| mentions(field, text)),
        _ => false,
    }
}

impl Token {
    fn into_text(self) -> String {
        match self {
            Self::Text(content) | Self::Full { content } => content,
        }
    }
}

impl Template {
    fn into_text(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::Named(templates) => {
                let mut templates = templates.into_iter();
                let default = templates.find(|template| template.name == "default");
                default.map(|template| template.template)
            }
        }
    }
}

impl OneOrMany {
    fn into_vec(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}
