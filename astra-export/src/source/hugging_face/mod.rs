//! Hugging Face directories: `config.json`, `model.safetensors` and what goes with them.
//!
//! - `fields`, `field_lists`: which fields of `config.json` are read, which change nothing, and which are refused
//! - `vit`, `vit_config`: DINOv2 and ViT; `preprocessor`: how photographs become their input
//! - `llama`, `llama_config`, `rope`, `window`: Llama, Mistral and Qwen2
//! - `gpt2`
//! - `bert`, and `sentences`: what the `sentence-transformers` library keeps beside a model
//! - `object`: JSON files whose fields are all known
//! - `text`, `special_tokens`, `chat_template`: tokenizer, special tokens and chat template; `wordpiece`: the normalizer of BERT's
//! - `files`, `tensors`: which files hold the weights, and the tensors in them

mod bert;
mod chat_template;
mod field_lists;
mod fields;
mod files;
mod gpt2;
mod llama;
mod llama_config;
mod object;
mod preprocessor;
mod rope;
mod sentences;
mod special_tokens;
mod tensors;
mod text;
mod vit;
mod vit_config;
mod window;
mod wordpiece;

use std::cell::RefCell;
use std::fmt::Display;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::error::{Mismatch, SourceError, read};
use super::{Content, Imported, PictureInput};
use files::Weights;
use tensors::SafeTensors;

pub(super) use vit_config::Architecture;

const CONFIG: &str = "config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Special tokens, of tokenizers saved before `tokenizer_config.json` had them.
const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// Values of `model_type` that are known.
const MODEL_TYPES: [&str; 7] = ["dinov2", "vit", "llama", "mistral", "qwen2", "gpt2", "bert"];

/// Reads the model in `dir`.
///
/// Photographs become the input of a vision Transformer as its `preprocessor_config.json` says; without that file as the first
/// published ViT and DINOv2 take them.
///
/// # Errors
/// [`SourceError`]
pub fn open(dir: &Path) -> Result<Imported, SourceError> {
    #[derive(Deserialize)]
    struct Head {
        model_type: String,
    }
    let path = dir.join(CONFIG);
    let config = read(&path)?;
    let Head { model_type } = parse(&path, &config)?;
    let import: Import = match model_type.as_str() {
        "dinov2" | "vit" => vit::import,
        "llama" | "mistral" | "qwen2" => llama::import,
        "gpt2" => gpt2::import,
        "bert" => bert::import,
        other => {
            let expected = format!("one of {MODEL_TYPES:?}");
            return Err(Mismatch::new("model_type", format!("{other:?}"), expected).at(&path));
        }
    };
    let fields: Map<String, Json> = parse(&path, &config)?;
    let fields = fields::used(fields, &model_type).map_err(|mismatch| mismatch.at(&path))?;
    let weights = files::weights(dir)?;
    let tensors = match &weights {
        Weights::Single(path) => SafeTensors::open(path)?,
        Weights::Sharded(index) => SafeTensors::open_sharded(index)?,
    };
    let directory = Directory {
        dir,
        config: fields,
        weights: tensors.path(),
        warnings: RefCell::default(),
    };
    let content = import(&directory, &tensors)?;
    tensors
        .check_blocks_read()
        .map_err(directory.in_weights())?;
    let file = tensors.path().file_name().unwrap_or_default();
    Ok(Imported {
        content,
        file: file.to_string_lossy().into_owned(),
        sha256: tensors.digest()?,
        warnings: directory.warnings.into_inner(),
    })
}

/// Reads a model of one architecture.
type Import = fn(&Directory<'_>, &SafeTensors<'_>) -> Result<Content, SourceError>;

/// How images are prepared for the model that is in `dir` in another form; `None` if no file says so.
pub(super) fn preprocessing(
    dir: &Path,
    architecture: Architecture,
) -> Result<Option<PictureInput>, SourceError> {
    let directory = Directory {
        dir,
        config: Map::new(),
        weights: dir,
        warnings: RefCell::default(),
    };
    preprocessor::read_file(&directory, architecture)
}

/// What the architectures read from.
struct Directory<'a> {
    dir: &'a Path,
    /// The fields of `config.json` that are used.
    config: Map<String, Json>,
    /// Path of the weights, or of the index of their files.
    weights: &'a Path,
    warnings: RefCell<Vec<String>>,
}

impl Directory<'_> {
    /// `config.json`
    fn config<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        let value = Json::Object(self.config.clone());
        let found = serde_path_to_error::deserialize(value);
        found.map_err(|error| unknown(&self.dir.join(CONFIG), &error))
    }

    /// Tells the user what is not as the files say.
    fn warn(&self, warning: String) {
        let warning = format!("{}: {warning}", self.dir.display());
        self.warnings.borrow_mut().push(warning);
    }

    /// Another JSON file, if it is there.
    fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SourceError> {
        let path = self.dir.join(name);
        if !path.exists() {
            return Ok(None);
        }
        parse(&path, &read(&path)?).map(Some)
    }

    /// For `map_err`: something is wrong with `config.json`.
    fn in_config(&self) -> impl Fn(Mismatch) -> SourceError {
        let path = self.dir.join(CONFIG);
        move |mismatch| mismatch.at(&path)
    }

    /// For `map_err`: something is wrong with the weights.
    fn in_weights(&self) -> impl Fn(Mismatch) -> SourceError {
        let path = self.weights.to_owned();
        move |mismatch| mismatch.at(&path)
    }
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, SourceError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let found = serde_path_to_error::deserialize(&mut json);
    let found = found.map_err(|error| unknown(path, &error))?;
    json.end().map_err(|error| unknown(path, &error))?;
    Ok(found)
}

fn unknown(path: &Path, error: &impl Display) -> SourceError {
    SourceError::Format {
        path: path.to_owned(),
        format: "a configuration that is known",
        error: error.to_string(),
    }
}
