//! Tokenizer, special tokens and chat template of a directory.

use std::collections::BTreeMap;

use astra_bundle::TextInput;
use serde::Deserialize;
use serde_json::Value as Json;

use super::chat_template::{self, Templates};
use super::{Content, Directory, SPECIAL_TOKENS, TOKENIZER_CONFIG, files, special_tokens};
use crate::source::end_tokens::{Entry, end_ids};
use crate::source::error::read as read_file;
use crate::source::{ImportedText, MAX_TOKENS, Mismatch, SourceError, TOKENIZER, TextModel};

const GENERATION: &str = "generation_config.json";
/// Classes of transformers 4 that put the first token before a text unless configured not to.
const CLASSES_THAT_ADD_BOS: [&str; 2] = ["LlamaTokenizer", "LlamaTokenizerFast"];

/// What there is besides weights.
pub(super) struct Text {
    /// Without the kind of positions.
    pub(super) input: TextInput,
    pub(super) tokenizer: Vec<u8>,
    /// Tokens of the vocabulary that end a generation without being configured.
    ends: Vec<u32>,
    template_from: Option<String>,
}

impl Text {
    /// Together with the model it is for.
    pub(super) fn of(self, model: TextModel) -> Content {
        let mut input = self.input;
        if let TextModel::Decoder(_) = model {
            let configured = input.eos.clone();
            let others = self.ends.into_iter();
            input
                .eos
                .extend(others.filter(|id| !configured.contains(id)));
        }
        Content::Text(ImportedText {
            model,
            input,
            tokenizer: self.tokenizer,
            template_from: self.template_from,
        })
    }
}

/// `tokenizer_config.json`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    add_bos_token: Option<bool>,
    tokenizer_class: Option<String>,
    chat_template: Option<Templates>,
}

/// `special_tokens_map.json`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpecialTokens {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
}

/// A token as text, or with how it is found.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Full { content: String },
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
    files::check_tokenizer(&path)?;
    let tokenizer = read_file(&path)?;
    let whole = super::parse(&path, &tokenizer)?;
    let tokenizer = special_tokens::complete(directory, tokenizer, whole)?;
    let file: TokenizerFile = super::parse(&path, &tokenizer)?;
    let config: TokenizerConfig = directory.optional(TOKENIZER_CONFIG)?.unwrap_or_default();
    let special: SpecialTokens = directory.optional(SPECIAL_TOKENS)?.unwrap_or_default();
    let ids: [Ids; 2] = [
        directory.config()?,
        directory.optional(GENERATION)?.unwrap_or_default(),
    ];
    let may_add = config.may_add_bos(&file);
    let bos_token = config.bos_token.or(special.bos_token);
    let eos_token = config.eos_token.or(special.eos_token);
    let (bos_token, eos_token) = (
        bos_token.map(Token::into_text),
        eos_token.map(Token::into_text),
    );
    let bos = bos_token.as_deref().and_then(|token| file.id(token));
    let bos = bos.or(ids.iter().find_map(|ids| ids.bos_token_id));
    let configured = eos_token.iter().filter_map(|token| file.id(token));
    let of_files = ids.into_iter().filter_map(|ids| ids.eos_token_id);
    let mut eos: Vec<u32> = Vec::new();
    for id in configured.chain(of_files.flat_map(OneOrMany::into_vec)) {
        if !eos.contains(&id) {
            eos.push(id);
        }
    }
    let known = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < vocab);
    if let Some(id) = bos.iter().chain(&eos).find(|id| !known(id)) {
        let expected = format!("below {vocab}, the size of the vocabulary");
        return Err(Mismatch::new("id of a special token", id, expected).at(&path));
    }
    let template = chat_template::read(directory, config.chat_template)?;
    let (chat_template, template_from) = template.map(|of| (of.source, of.from)).unzip();
    Ok(Text {
        ends: file.ends().into_iter().filter(known).collect(),
        template_from,
        input: TextInput {
            tokenizer: TOKENIZER.to_owned(),
            vocab,
            max_tokens: limit.min(MAX_TOKENS),
            add_bos: may_add && bos.is_some() && !file.adds(bos_token.as_deref()),
            bos,
            eos,
            chat_template,
            bos_token,
            eos_token,
            rotary: false,
            learned_positions: false,
        },
        tokenizer,
    })
}

/// The longest text in the tokenizer's own configuration, where it is plausible.
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

impl TokenizerConfig {
    /// Whether the tokenizer puts the first token before a text where the post-processor of its file does not.
    fn may_add_bos(&self, file: &TokenizerFile) -> bool {
        let class = self.tokenizer_class.as_deref();
        let by_class = class.is_some_and(|class| CLASSES_THAT_ADD_BOS.contains(&class));
        let unsaid = by_class && file.post_processor.is_none();
        self.add_bos_token.unwrap_or(unsaid)
    }
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

    /// Ids of the tokens that end a generation without being configured.
    fn ends(&self) -> Vec<u32> {
        let added = self.added_tokens.iter().map(|token| Entry {
            id: token.id,
            text: &token.content,
            added: true,
        });
        let vocabulary = match &self.model.vocab {
            Some(Vocabulary::ById(ids)) => Some(ids),
            _ => None,
        };
        let words = vocabulary.into_iter().flatten().map(|(text, id)| Entry {
            id: *id,
            text,
            added: false,
        });
        let mut ends = end_ids(added.chain(words));
        ends.sort_unstable();
        ends.dedup();
        ends
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

impl OneOrMany {
    fn into_vec(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}
