//! What `tokenizer_config.json` changes of BERT's own tokenizer.

use serde_json::{Map, Value as Json, json};

use super::object::Object;
use super::text::Text;
use super::{Directory, parse};
use crate::source::{SourceError, TOKENIZER};

/// Fields of the file, those of the normalizer they decide, and what the library takes where the file says nothing.
const FIELDS: [(&str, &str, Option<bool>); 3] = [
    ("do_lower_case", "lowercase", Some(true)),
    ("strip_accents", "strip_accents", None),
    ("tokenize_chinese_chars", "handle_chinese_chars", Some(true)),
];
const CLASSES: [&str; 2] = ["BertTokenizer", "BertTokenizerFast"];

/// `BertTokenizer` of `transformers` makes its normalizer out of `tokenizer_config.json` and its own defaults, whatever
/// `tokenizer.json` says (`tokenization_bert.py`, 4 and 5).
pub(super) fn follow_configuration(
    directory: &Directory<'_>,
    text: &mut Text,
) -> Result<(), SourceError> {
    let mut config = Object::read(directory, "tokenizer_config.json")?;
    let class: Option<String> = match &mut config {
        Some(config) => config.take("tokenizer_class", "a string")?,
        None => None,
    };
    if class.is_some_and(|class| !CLASSES.contains(&class.as_str())) {
        return Ok(());
    }
    let path = directory.dir.join(TOKENIZER);
    let mut file: Map<String, Json> = parse(&path, &text.tokenizer)?;
    let Some(normalizer) = file.get_mut("normalizer").and_then(Json::as_object_mut) else {
        return Ok(());
    };
    if normalizer.get("type") != Some(&json!("BertNormalizer")) {
        return Ok(());
    }
    let before = normalizer.clone();
    for (field, name, usual) in FIELDS {
        let said: Option<bool> = match &mut config {
            Some(config) => config.take(field, "true or false")?,
            None => None,
        };
        normalizer.insert(name.to_owned(), json!(said.or(usual)));
    }
    if *normalizer != before {
        text.tokenizer = Json::Object(file).to_string().into_bytes();
    }
    Ok(())
}
