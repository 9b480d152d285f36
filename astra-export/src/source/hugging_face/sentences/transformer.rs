//! `sentence_bert_config.json`: the configuration of the module `Transformer`.

use serde_json::{Map, Value as Json, json};

use super::super::object::Object;
use super::super::text::Text;
use super::super::{Directory, parse};
use crate::source::{Mismatch, SourceError, TOKENIZER};

/// Names of the file; the first that is there and not empty counts.
const FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];
/// Arguments of what loads model, tokenizer and configuration, old and new names.
const ARGUMENTS: [&str; 6] = [
    "model_args",
    "model_kwargs",
    "tokenizer_args",
    "processor_kwargs",
    "config_args",
    "config_kwargs",
];
/// Arguments that change how a model is loaded or how fast it is, but no vector.
const HARMLESS: [&str; 15] = [
    "add_pooling_layer",
    "attn_implementation",
    "cache_dir",
    "clean_up_tokenization_spaces",
    "device_map",
    "dtype",
    "local_files_only",
    "low_cpu_mem_usage",
    "padding_side",
    "revision",
    "token",
    "torch_dtype",
    "trust_remote_code",
    "use_fast",
    "use_safetensors",
];

/// How texts become tokens.
#[derive(Default)]
pub(super) struct Words {
    pub(super) limit: Option<usize>,
    pub(super) lower_case: bool,
}

pub(super) fn read(directory: &Directory<'_>) -> Result<Words, SourceError> {
    for name in FILES {
        if let Some(config) = Object::read(directory, name)? {
            return of(config);
        }
    }
    Ok(Words::default())
}

fn of(mut config: Object) -> Result<Words, SourceError> {
    let words = Words {
        limit: config.take("max_seq_length", "a number")?,
        lower_case: config
            .take("do_lower_case", "true or false")?
            .unwrap_or(false),
    };
    config.only("transformer_task", &[json!("feature-extraction")])?;
    config.only("module_output_name", &[json!("token_embeddings")])?;
    check_modality(&mut config)?;
    for name in ARGUMENTS {
        check_arguments(&mut config, name)?;
    }
    // Empty, or by modality.
    config.only("processing_kwargs", &[json!({}), json!({ "text": {} })])?;
    // Lengths for callers that state whether a text is a query or a document; and how batches are packed.
    config.ignore(&["query_length", "document_length", "unpad_inputs"]);
    config.finish()?;
    Ok(words)
}

/// What is taken from the model for a text: the hidden states of the last layer.
fn check_modality(config: &mut Object) -> Result<(), SourceError> {
    const FIELD: &str = "modality_config";
    let Some(found) = config.take::<Map<String, Json>>(FIELD, "an object")? else {
        return Ok(());
    };
    let wanted = [
        ("method", vec![json!("forward")]),
        (
            "method_output_name",
            vec![json!("last_hidden_state"), json!(["last_hidden_state"])],
        ),
    ];
    let text = found.get("text");
    for (name, possible) in wanted {
        let value = text.and_then(|text| text.get(name)).unwrap_or(&Json::Null);
        if !possible.contains(value) {
            let expected = possible.first().map(Json::to_string).unwrap_or_default();
            return Err(config.refusal(&format!("{FIELD}.text.{name}"), value, &expected));
        }
    }
    Ok(())
}

fn check_arguments(config: &mut Object, name: &str) -> Result<(), SourceError> {
    let arguments: Map<String, Json> = config.take(name, "an object")?.unwrap_or_default();
    let mut unknown = arguments
        .iter()
        .filter(|(argument, value)| !value.is_null() && !HARMLESS.contains(&argument.as_str()));
    match unknown.next() {
        None => Ok(()),
        Some((argument, value)) => {
            let expected = "no such argument: it is not known what it changes";
            Err(config.refusal(&format!("{name}.{argument}"), value, expected))
        }
    }
}

/// Puts the normalizer `Lowercase` before those of the tokenizer, as the library does unless one of them is it already.
pub(super) fn lower_case(directory: &Directory<'_>, text: &mut Text) -> Result<(), SourceError> {
    let path = directory.dir.join(TOKENIZER);
    let mut file: Map<String, Json> = parse(&path, &text.tokenizer)?;
    let lower = json!({ "type": "Lowercase" });
    let before = match file.remove("normalizer") {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Object(mut normalizer))
            if normalizer.get("type") == Some(&json!("Sequence")) =>
        {
            match normalizer.remove("normalizers") {
                Some(Json::Array(normalizers)) => normalizers,
                _ => {
                    let missing = Mismatch::missing("normalizer.normalizers", "a list");
                    return Err(missing.at(&path));
                }
            }
        }
        Some(normalizer) => vec![normalizer],
    };
    let there = before
        .iter()
        .any(|normalizer| normalizer.get("type") == lower.get("type"));
    let first = (!there).then_some(lower);
    let all: Vec<Json> = first.into_iter().chain(before).collect();
    let sequence = json!({ "type": "Sequence", "normalizers": all });
    file.insert("normalizer".to_owned(), sequence);
    text.tokenizer = Json::Object(file).to_string().into_bytes();
    Ok(())
}
