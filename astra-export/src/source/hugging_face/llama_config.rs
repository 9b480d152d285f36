//! `config.json` of Llama, Mistral and Qwen2.

use serde::{Deserialize, Deserializer};

use crate::source::Mismatch;
use crate::source::llama::{Dimensions, Names};

/// Optional fields have the defaults of the `transformers` library where they are left out.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    pub(super) model_type: String,
    hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    num_attention_heads: usize,
    /// Null is not the same as left out.
    #[serde(default, deserialize_with = "present")]
    num_key_value_heads: Option<Option<usize>>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f32>,
    hidden_act: Option<String>,
    pub(super) tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Config {
    /// Refuses what would be computed otherwise.
    pub(super) fn check(&self) -> Result<(), Mismatch> {
        match self.hidden_act.as_deref() {
            None | Some("silu" | "swish") => Ok(()),
            Some(other) => Err(Mismatch::new(
                "hidden_act",
                format!("{other:?}"),
                "\"silu\"",
            )),
        }
    }

    /// Tokens of the longest text.
    pub(super) fn longest(&self) -> usize {
        let default = match self.model_type.as_str() {
            "mistral" => 32 * 4096,
            "qwen2" => 32_768,
            _ => 2048,
        };
        self.max_position_embeddings.unwrap_or(default)
    }

    pub(super) fn dimensions(&self, rope_base: f64) -> Dimensions {
        let heads = self.num_attention_heads;
        let default = match self.model_type.as_str() {
            "mistral" => 8,
            "qwen2" => 32,
            _ => heads,
        };
        Dimensions {
            hidden: self.hidden_size,
            layers: self.num_hidden_layers,
            heads,
            kv_heads: match self.num_key_value_heads {
                None => default,
                Some(kv_heads) => kv_heads.unwrap_or(heads),
            },
            head_dim: self.head_dim.unwrap_or(self.hidden_size / heads.max(1)),
            mlp: self.intermediate_size,
            vocab: self.vocab_size,
            rope_base,
            epsilon: self.rms_norm_eps.unwrap_or(1e-6),
        }
    }

    /// The linear maps of a layer that have no bias.
    ///
    /// Queries, keys and values of Qwen2 have one, nothing of Mistral has, and of Llama the configuration decides.
    pub(super) fn parts_without_bias(&self, names: &Names) -> Vec<&'static str> {
        let says = |field: Option<bool>| field == Some(true) && self.model_type == "llama";
        let inputs = [names.query, names.key, names.value];
        let output = [names.output];
        let mlp = [names.gate, names.up, names.down];
        let attention_has = says(self.attention_bias);
        let groups = [
            (
                inputs.as_slice(),
                attention_has || self.model_type == "qwen2",
            ),
            (output.as_slice(), attention_has),
            (mlp.as_slice(), says(self.mlp_bias)),
        ];
        let without = groups.into_iter().filter(|(_, has)| !has);
        without.flat_map(|(parts, _)| parts).copied().collect()
    }
}
