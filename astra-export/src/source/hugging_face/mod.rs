//! Hugging Face directories: `config.json`, `model.safetensors` and what goes with them.
//!
//! - `vit`, `vit_config`: DINOv2 and ViT; `preprocessor`: how photographs become their input
//! - `llama`: Llama, Mistral without sliding window, and Qwen2
//! - `gpt2`
//! - `bert`, and `sentences`: what the `sentence-transformers` library keeps beside a model
//! - `object`: JSON files whose fields are all known
//! - `text`: tokenizer, special tokens and chat template; `wordpiece`: the normalizer of BERT's
//! - `tensors`: the tensors of a safetensors file

mod bert;
mod gpt2;
mod llama;
mod object;
mod preprocessor;
mod sentences;
mod tensors;
mod text;
mod vit;
mod vit_config;
mod wordpiece;

use std::path::Path;

use astra_bundle::Sha256Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{Mismatch, SourceError, read};
use super::{Content, Imported};
use tensors::SafeTensors;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

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
    let weights = dir.join(WEIGHTS);
    let directory = Directory {
        dir,
        config: &config,
        weights: &weights,
    };
    match model_type.as_str() {
        "dinov2" | "vit" => directory.import(vit::import),
        "llama" | "mistral" | "qwen2" => directory.import(llama::import),
        "gpt2" => directory.import(gpt2::import),
        "bert" => directory.import(bert::import),
        other => {
            let expected = format!("one of {MODEL_TYPES:?}");
            Err(Mismatch::new("model_type", format!("{other:?}"), expected).at(&path))
        }
    }
}

/// What the architectures read from.
struct Directory<'a> {
    dir: &'a Path,
    /// Content of `config.json`.
    config: &'a [u8],
    /// Path of the weights.
    weights: &'a Path,
}

impl Directory<'_> {
    fn import(
        &self,
        import: fn(&Self, &SafeTensors<'_>) -> Result<Content, SourceError>,
    ) -> Result<Imported, SourceError> {
        let bytes = read(self.weights)?;
        let tensors = SafeTensors::parse(&bytes).map_err(|error| SourceError::Format {
            path: self.weights.to_owned(),
            format: "a safetensors file",
            error: error.to_string(),
        })?;
        Ok(Imported {
            content: import(self, &tensors)?,
            file: WEIGHTS.to_owned(),
            sha256: Sha256Digest::of(&bytes),
            warnings: Vec::new(),
        })
    }

    /// `config.json`
    fn config<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        parse(&self.dir.join(CONFIG), self.config)
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
    serde_json::from_slice(bytes).map_err(|error| SourceError::Format {
        path: path.to_owned(),
        format: "a configuration that is known",
        error: error.to_string(),
    })
}
