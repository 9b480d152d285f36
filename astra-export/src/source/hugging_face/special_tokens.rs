//! Special tokens that `tokenizer.json` does not list as such, but the files beside it name.
//!
//! `transformers` adds them to the tokenizer when it loads it (`tokenization_utils_tokenizers.py`), so that they are found in a text
//! before it is split. Those that are in no vocabulary are left out: the model has no vector for them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::Directory;
use crate::source::SourceError;

/// Fields of `tokenizer_config.json` and `special_tokens_map.json` that name one token.
const NAMED: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];
/// Fields that name several.
const LISTS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];
/// What `BertTokenizer` has where no file says so.
const BERT: [&str; 5] = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"];

/// A token as text, or with how it is found.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Named {
    Text(String),
    Full {
        content: String,
        #[serde(flatten)]
        how: Map<String, Json>,
    },
}

/// The content of `tokenizer.json` with all special tokens in its list.
pub(super) fn complete(
    directory: &Directory<'_>,
    tokenizer: Vec<u8>,
    mut file: Map<String, Json>,
) -> Result<Vec<u8>, SourceError> {
    let mut wanted: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    for name in [super::TOKENIZER_CONFIG, super::SPECIAL_TOKENS] {
        let fields: Option<Map<String, Json>> = directory.optional(name)?;
        for named in fields.iter().flat_map(tokens) {
            let (content, how) = match named {
                Named::Text(content) => (content, Map::new()),
                Named::Full { content, how } => (content, how),
            };
            wanted.entry(content).or_insert(how);
        }
    }
    if file.get("model").and_then(|model| model.get("type")) == Some(&json!("WordPiece")) {
        for token in BERT {
            wanted.entry(token.to_owned()).or_default();
        }
    }
    let known = |content: &str| listed(&file).any(|listed| listed == content);
    let missing: Vec<Json> = wanted
        .iter()
        .filter(|(content, _)| !known(content))
        .filter_map(|(content, how)| Some(added(content, id(&file, content)?, how)))
        .collect();
    if missing.is_empty() {
        return Ok(tokenizer);
    }
    let list = file.entry("added_tokens").or_insert_with(|| json!([]));
    if let Json::Array(list) = list {
        list.extend(missing);
        list.sort_by_key(|token| token.get("id").and_then(Json::as_u64));
    }
    Ok(Json::Object(file).to_string().into_bytes())
}

/// The tokens that a file names. Values of another form name none.
fn tokens(fields: &Map<String, Json>) -> Vec<Named> {
    let one = NAMED.iter().filter_map(|name| fields.get(*name));
    let lists = LISTS
        .iter()
        .filter_map(|name| fields.get(*name)?.as_array());
    let decoder = fields.get("added_tokens_decoder").and_then(Json::as_object);
    let all = one
        .chain(lists.flatten())
        .chain(decoder.into_iter().flat_map(Map::values));
    all.filter_map(|token| Named::deserialize(token).ok())
        .collect()
}

fn listed(file: &Map<String, Json>) -> impl Iterator<Item = &str> {
    let list = file.get("added_tokens").and_then(Json::as_array);
    let list = list.into_iter().flatten();
    list.filter_map(|token| token.get("content")?.as_str())
}

/// The id of a token in the vocabulary of the model.
fn id(file: &Map<String, Json>, content: &str) -> Option<u64> {
    let vocabulary = file.get("model")?.get("vocab")?;
    match vocabulary {
        Json::Object(ids) => ids.get(content)?.as_u64(),
        // Pairs of piece and score.
        Json::Array(pieces) => {
            let of = |piece: &Json| piece.get(0).and_then(Json::as_str) == Some(content);
            let place = pieces.iter().position(of)?;
            u64::try_from(place).ok()
        }
        _ => None,
    }
}

fn added(content: &str, id: u64, how: &Map<String, Json>) -> Json {
    let flag = |name: &str, usual: bool| how.get(name).and_then(Json::as_bool).unwrap_or(usual);
    json!({
        "id": id, "content": content, "single_word": flag("single_word", false),
        "lstrip": flag("lstrip", false), "rstrip": flag("rstrip", false),
        "normalized": flag("normalized", false), "special": flag("special", true),
    })
}
