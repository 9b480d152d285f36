//! `manifest.json`: what the bundle is, and what lies where in the binary files.
//!
//! Fields that a reader may ignore can be added within a format; whatever changes the meaning of what is there takes a new one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::embedding::Embedding;
use crate::image::ImageInput;
use crate::matrix::Matrix;
use crate::rung::Rung;
use crate::shape::{Shape, TensorRef};

/// The whole file. [`Manifest::validate`] says which values are possible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`](crate::FORMAT) or [`FORMAT_OF_BLOCKS`](crate::FORMAT_OF_BLOCKS); a reader checks it before it looks at anything else.
    pub format: u32,
    /// Name of the model, for people.
    pub model: String,
    /// Architecture, which decides the graphs there are and what the input is.
    pub family: Family,
    /// What the head answers.
    pub task: Task,
    /// The file the model came from.
    pub source: Source,
    /// Seed of the fit; the same source, calibration and seed give the same bundle.
    pub seed: u64,
    /// Exporter and its version.
    pub software: String,
    /// Dimensions of the Transformer.
    pub shape: Shape,
    /// How a photograph becomes the input; there for families that see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageInput>,
    /// How a text becomes the input; there for families that read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextInput>,
    /// Transforms that rungs code in.
    pub bases: Vec<Basis>,
    /// Every matrix of the model, in bundles where one of them is stored in blocks; empty where all are float32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matrices: Vec<Matrix>,
    /// What exact mode decodes with, by block; empty where graphs do that.
    pub exact: Vec<ExactBlock>,
    /// Settings of the codec, by ascending bits.
    pub rungs: Vec<Rung>,
    /// What the bases and codebooks were fitted on.
    pub calibration: Calibration,
    /// Every file of the bundle but this one, by name.
    pub files: BTreeMap<String, FileEntry>,
}

/// Architecture of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Vision Transformers: patches and class tokens, all attending to all.
    Vit,
    /// Causal language models with RMSNorm, rotary positions and a gated MLP: Llama, and what shares its shape.
    Llama,
    /// Text encoders with normalization after each step: tokens, all attending to all.
    Bert,
    /// Causal language models with layer normalization and learned positions.
    Gpt2,
}

impl Family {
    /// Whether a token attends to itself and those before it only.
    pub fn is_causal(self) -> bool {
        matches!(self, Self::Llama | Self::Gpt2)
    }

    /// Whether the input is text.
    pub fn is_text(self) -> bool {
        self != Self::Vit
    }
}

/// What the head answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Task {
    /// A map of where to look, of [`ImageInput::map_size`].
    Saliency,
    /// The normalized tokens themselves.
    Features,
    /// One score a class.
    Classification {
        /// Names of the classes in the order of the scores, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<Vec<String>>,
    },
    /// Scores of the next token.
    Generation,
    /// One vector for the whole text.
    Embedding(Embedding),
}

/// The file the model came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name, without directories.
    pub file: String,
    /// Its hash.
    pub sha256: Sha256Digest,
}

/// How a text becomes the input of `embed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextInput {
    /// File of the bundle with the tokenizer, in the format of the `tokenizers` library.
    pub tokenizer: String,
    /// Tokens there are; ids are smaller.
    pub vocab: usize,
    /// Longest input in tokens, special ones counted.
    pub max_tokens: usize,
    /// Id of the token that begins a text, where the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos: Option<u32>,
    /// Ids that end a generation.
    #[serde(default)]
    pub eos: Vec<u32>,
    /// Whether `bos` has to be put before a text because the tokenizer's own post-processor does not.
    #[serde(default)]
    pub add_bos: bool,
    /// Jinja template that makes one text of the messages of a chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// `bos` as text, for the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos_token: Option<String>,
    /// The end of a turn as text, for the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eos_token: Option<String>,
    /// Whether `local` and `attend` take positions, to rotate queries and keys by.
    #[serde(default)]
    pub rotary: bool,
    /// Whether `embed` takes positions, to look vectors up by.
    #[serde(default)]
    pub learned_positions: bool,
}

/// A transform of the post-norm block input n: `y = n enc_w^T + enc_b`, and back to keys and values:
/// `[K^ | V^] = y^ dec_w + dec_b`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// What rungs call it: `attention` (weighted by what attention does with an error) or `plain`.
    pub name: String,
    /// Rank and tensors of each block.
    pub blocks: Vec<BasisBlock>,
}

/// A basis in one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasisBlock {
    /// Axes of y, most important first; rungs use some or all of them.
    pub rank: usize,
    /// `[rank, hidden]`; row i makes axis i of y.
    pub enc_w: TensorRef,
    /// `[rank]`.
    pub enc_b: TensorRef,
    /// `[rank, 2 * kv_width]`; columns of K first, then those of V.
    pub dec_w: TensorRef,
    /// `[2 * kv_width]`.
    pub dec_b: TensorRef,
}

/// Exact mode in one block: n itself travels, and `[K | V] = n dec_w + dec_b` with the model's own weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactBlock {
    /// `[hidden, 2 * kv_width]`; columns of K first, then those of V.
    pub dec_w: TensorRef,
    /// `[2 * kv_width]`.
    pub dec_b: TensorRef,
}

/// What the bases and codebooks were fitted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// Name of the collection, for people.
    pub source: String,
    /// Inputs seen: images, crops and flips counted, or windows of text.
    pub inputs: usize,
    /// Tokens seen in each block.
    pub tokens: usize,
    /// Inputs that were kept from the fit, to measure agreement on.
    pub held_out: usize,
}

/// What a file of the bundle has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: Sha256Digest,
}
