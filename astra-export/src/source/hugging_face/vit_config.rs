//! `config.json`, as far as it decides what is computed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::source::Mismatch;
use crate::source::sides::{MAX_SIDE, check_heads, check_sides};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::source) enum Architecture {
    Dinov2,
    Vit,
}

/// Optional fields have the defaults of the `transformers` library where they are left out.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    pub(super) model_type: Architecture,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    #[serde(deserialize_with = "side")]
    pub(super) patch_size: usize,
    /// Of the pictures of training; how many positions there are says the file.
    #[serde(default, rename = "image_size", deserialize_with = "optional_side")]
    _image_size: Option<usize>,
    /// ViT's way to give the width of the MLP.
    intermediate_size: Option<usize>,
    /// DINOv2's way.
    mlp_ratio: Option<f64>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f32>,
    num_channels: Option<usize>,
    qkv_bias: Option<bool>,
    use_swiglu_ffn: Option<bool>,
    id2label: Option<BTreeMap<String, String>>,
}

/// The side of a square, which may be given as height and width.
#[derive(Deserialize)]
#[serde(untagged)]
enum Side {
    Square(usize),
    Sides([usize; 2]),
}

fn optional_side<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    match Option::<Side>::deserialize(value)? {
        None => Ok(None),
        Some(Side::Square(side)) => Ok(Some(side)),
        Some(Side::Sides([height, width])) if height == width => Ok(Some(width)),
        Some(Side::Sides(sides)) => {
            let error = format!("found {sides:?} for a side, expected equal height and width");
            Err(serde::de::Error::custom(error))
        }
    }
}

fn side<'de, D: Deserializer<'de>>(value: D) -> Result<usize, D::Error> {
    optional_side(value)?.ok_or_else(|| serde::de::Error::custom("found null, expected a side"))
}

impl Config {
    /// Refuses what would be computed otherwise.
    pub(super) fn check(&self) -> Result<(), Mismatch> {
        if self.use_swiglu_ffn == Some(true) {
            return Err(Mismatch::new(
                "use_swiglu_ffn",
                true,
                "false: SwiGLU is not supported",
            ));
        }
        match self.hidden_act.as_deref() {
            // Two names of transformers for one formula.
            None | Some("gelu" | "gelu_python") => {}
            Some(other) => {
                return Err(Mismatch::new(
                    "hidden_act",
                    format!("{other:?}"),
                    "\"gelu\"",
                ));
            }
        }
        if let Some(other @ (..=2 | 4..)) = self.num_channels {
            return Err(Mismatch::new("num_channels", other, 3));
        }
        check_sides([
            ("hidden_size", self.hidden_size, MAX_SIDE),
            ("num_hidden_layers", self.num_hidden_layers, MAX_SIDE),
            ("num_attention_heads", self.num_attention_heads, MAX_SIDE),
            ("patch_size", self.patch_size, MAX_SIDE),
            ("the width of the MLP", self.mlp_width(), MAX_SIDE),
        ])?;
        check_heads(
            "num_attention_heads",
            self.num_attention_heads,
            self.hidden_size,
        )
    }

    pub(super) fn mlp_width(&self) -> usize {
        match self.model_type {
            Architecture::Vit => self.intermediate_size.unwrap_or(3072),
            // Truncated, as Python's int() does.
            Architecture::Dinov2 => {
                (self.hidden_size as f64 * self.mlp_ratio.unwrap_or(4.0)) as usize
            }
        }
    }

    pub(super) fn epsilon(&self) -> f32 {
        self.layer_norm_eps.unwrap_or(match self.model_type {
            Architecture::Vit => 1e-12,
            Architecture::Dinov2 => 1e-6,
        })
    }

    pub(super) fn qkv_bias(&self) -> bool {
        self.qkv_bias.unwrap_or(true)
    }

    /// Names of the classes in order, if every one has a name.
    pub(super) fn labels(&self, classes: usize) -> Option<Vec<String>> {
        let names = self.id2label.as_ref()?;
        (0..classes)
            .map(|class| names.get(&class.to_string()).cloned())
            .collect()
    }
}
