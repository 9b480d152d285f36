//! Llama (`model_type` `llama`), Mistral (`mistral`) and Qwen2 (`qwen2`).

use std::f64::consts::TAU;

use serde::Deserialize;

use super::tensors::SafeTensors;
use super::{Content, Directory, text};
use crate::source::llama::{self, Dimensions, Names, Pairs};
use crate::source::tensors::Tensors;
use crate::source::{Mismatch, SourceError, TextModel};

const NAMES: Names = Names {
    embedding: "model.embed_tokens",
    norm: "model.norm",
    head: "lm_head",
    layers: "model.layers",
    norm1: "input_layernorm",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    output: "self_attn.o_proj",
    norm2: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
};

/// Optional fields have the defaults of the `transformers` library where they are left out.
#[derive(Debug, Deserialize)]
struct Config {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Scaling>,
    hidden_act: Option<String>,
    tie_word_embeddings: Option<bool>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
}

/// Rotary positions stretched after training.
#[derive(Debug, Clone, Deserialize)]
struct Scaling {
    #[serde(alias = "type")]
    rope_type: String,
    #[serde(default)]
    factor: f64,
    #[serde(default)]
    low_freq_factor: f64,
    #[serde(default)]
    high_freq_factor: f64,
    #[serde(default)]
    original_max_position_embeddings: f64,
}

pub(super) fn import(
    directory: &Directory<'_>,
    tensors: &SafeTensors<'_>,
) -> Result<Content, SourceError> {
    let config: Config = directory.config()?;
    config.check().map_err(directory.in_config())?;
    let dims = config.dimensions();
    let head = format!("{}.weight", NAMES.head);
    if config.tie_word_embeddings == Some(false) && !tensors.contains(&head) {
        let expected = "a tensor of that name, as tie_word_embeddings is false";
        return Err(directory.in_weights()(Mismatch::missing(head, expected)));
    }
    let model = llama::read(&dims, &NAMES, Pairs::Halves, tensors);
    let mut model = model.map_err(directory.in_weights())?;
    if let Some(scaling) = &config.rope_scaling {
        scaling.apply(&mut model.frequencies);
    }
    let limit = config.max_position_embeddings.unwrap_or(2048);
    let mut text = text::read(directory, config.vocab_size, limit)?;
    text.input.rotary = true;
    Ok(text.of(TextModel::Decoder(model.into())))
}

impl Config {
    /// Refuses what would be computed otherwise.
    fn check(&self) -> Result<(), Mismatch> {
        match self.hidden_act.as_deref() {
            None | Some("silu" | "swish") => {}
            Some(other) => {
                return Err(Mismatch::new(
                    "hidden_act",
                    format!("{other:?}"),
                    "\"silu\"",
                ));
            }
        }
        // Qwen2 has a width of the window even where it is not used.
        let slides = self
            .use_sliding_window
            .unwrap_or(self.model_type == "mistral");
        if let Some(window) = self.sliding_window.filter(|_| slides) {
            let expected = "null: attention to a window is not supported";
            return Err(Mismatch::new("sliding_window", window, expected));
        }
        match &self.rope_scaling {
            Some(scaling) => scaling.check(),
            None => Ok(()),
        }
    }

    fn dimensions(&self) -> Dimensions {
        let heads = self.num_attention_heads;
        Dimensions {
            hidden: self.hidden_size,
            layers: self.num_hidden_layers,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim: self.head_dim.unwrap_or(self.hidden_size / heads.max(1)),
            mlp: self.intermediate_size,
            vocab: self.vocab_size,
            rope_base: self.rope_theta.unwrap_or(10_000.0),
            epsilon: self.rms_norm_eps.unwrap_or(1e-6),
        }
    }
}

impl Scaling {
    fn check(&self) -> Result<(), Mismatch> {
        match self.rope_type.as_str() {
            "default" => Ok(()),
            "llama3" if self.factor > 0.0 && self.high_freq_factor > self.low_freq_factor => Ok(()),
            other => {
                let expected = "\"default\" or a whole \"llama3\"";
                Err(Mismatch::new(
                    "rope_scaling",
                    format!("{other:?}"),
                    expected,
                ))
            }
        }
    }

    /// Llama 3.1's: frequencies that turn less than once in the length of training are divided, those that turn often kept,
    /// those between mixed.
    fn apply(&self, frequencies: &mut [f64]) {
        if self.rope_type != "llama3" {
            return;
        }
        for frequency in frequencies {
            let turns = self.original_max_position_embeddings * *frequency / TAU;
            let range = self.high_freq_factor - self.low_freq_factor;
            let kept = ((turns - self.low_freq_factor) / range).clamp(0.0, 1.0);
            *frequency *= kept + (1.0 - kept) / self.factor;
        }
    }
}
