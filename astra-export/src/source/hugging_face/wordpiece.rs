//! What `tokenizer_config.json` changes of BERT's own tokenizer.

use serde_json::{Map, Value as Json, json};

use super::object::Object;
use super::text::Text;
use super::{Directory, parse};
use crate::source::{SourceError, TOKENIZER};

/// Fields of the file, and those of the normalizer they decide.
const FIELDS: [(&str, &str); 3] = [
    ("do_lower_case", "lowercase"),
    ("strip_accents", "strip_accents"),
    ("tokenize_chinese_chars", "handle_chinese_chars"),
];
const CLASSES: [&str; 2] = ["BertTokenizer", "BertTokenizerFast"];

/// `BertTokenizer` of `transformers` makes its normalizer out of `tokenizer_config.json`, whatever `tokenizer.json` says. What that
/// file does not mention stays as it is.
pub(super) fn follow_configuration(
    directory: &Directory<'_>,
    text: &mut Text,
) -> Result<(), SourceError> {
    let Some(mut config) = Object::read(directory, "tokenizer_config.json")? else {
        return Ok(());
    };
    let class: Option<String> = config.take("tokenizer_class", "a string")?;
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
    for (field, name) in FIELDS {
        if let Some(value) = config.take::<bool>(field, "true or false")? {
            normalizer.insert(name.to_owned(), json!(value));
        }
    }
    if *normalizer != before {
        text.tokenizer = Json::Object(file).to_string().into_bytes();
    }
    Ok(())
}
