//! Files of pretrained models, read into a family's weights.
//!
//! - [`Tensor`]: float32 values with dimensions, from whatever precision a file has
//! - [`onnx`]: ONNX exports of DINOv2 and ViT, by whatever exporter
//! - [`gguf`]: GGUF files of Llama and Qwen2, with tokenizer and chat template
//! - [`hugging_face`]: directories with `config.json` and `model.safetensors`, of DINOv2, ViT, Llama, Qwen2, GPT-2 and BERT
//! - `tensors`, `llama`: tensors by name, and a Llama out of those of any file
//! - `sides`: how large a model may be
//! - `end_tokens`: tokens at which a generation ends without being configured
//!
//! Files are untrusted: whatever does not have the structure that is known here is refused, with the name of the tensor, node
//! or field, what was found and what was expected.

mod end_tokens;
mod error;
pub mod gguf;
pub mod hugging_face;
mod llama;
pub mod onnx;
mod sides;
mod tensor;
mod tensors;

use astra_bundle::{Filter, Fit, Sha256Digest, TextInput};

use crate::family::bert::BertModel;
use crate::family::decoder::Decoder;
use crate::family::vit::{ImageScale, VitModel};
use crate::narrow::Storage;

pub use error::{Mismatch, SourceError};
pub use tensor::{Precision, Tensor};

/// A model as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Weights, and how inputs become what they take.
    pub content: Content,
    /// Name of the file with the weights, without directories; of the index where there are several.
    pub file: String,
    /// Its hash; where there are several files that of the list of their hashes in the order of their names, each as 64 hex digits
    /// and a newline.
    pub sha256: Sha256Digest,
    /// What the user should know: in which way the bundle does less than the files say.
    pub warnings: Vec<String>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A model that sees.
    Image(ImportedVit),
    /// A model that reads.
    Text(ImportedText),
}

impl Content {
    /// Width of a token, D.
    pub fn hidden(&self) -> usize {
        match self {
            Self::Image(vit) => vit.model.hidden,
            Self::Text(text) => match &text.model {
                TextModel::Decoder(model) => model.hidden,
                TextModel::Bert(model) => model.hidden,
            },
        }
    }

    /// Brings the matrices into the form that they are to be stored in.
    pub fn store_as(&mut self, storage: Storage) {
        match self {
            Self::Image(vit) => vit.model.store_as(storage),
            Self::Text(text) => match &mut text.model {
                TextModel::Decoder(model) => model.store_as(storage),
                TextModel::Bert(model) => model.store_as(storage),
            },
        }
    }

    /// Angles a position of the channels of a head; empty where positions are not rotary.
    pub fn frequencies(&self) -> &[f64] {
        match self {
            Self::Text(text) => match &text.model {
                TextModel::Decoder(model) => model.positions.frequencies(),
                TextModel::Bert(_) => &[],
            },
            Self::Image(_) => &[],
        }
    }
}

/// A vision Transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedVit {
    /// Weights and head.
    pub model: VitModel,
    /// How a photograph becomes its input.
    pub input: PictureInput,
}

/// How a photograph becomes the input of a vision Transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PictureInput {
    /// How bytes become values.
    pub scale: ImageScale,
    /// How a photograph that is not square fits in.
    pub fit: Fit,
    /// Filter it is resized with.
    pub filter: Filter,
    /// Side of the square input in pixels that the model was published for.
    pub size: usize,
    /// Side in pixels that the photograph is resized to before the middle is cut out at that size of the input; `size` where nothing
    /// is cut off.
    pub resize: usize,
}

impl PictureInput {
    /// The same share of a photograph at an input of `size` pixels: what `resize` is there, to the nearest.
    pub fn resize_for(&self, size: usize) -> usize {
        let whole = self.size.max(1);
        (2 * size * self.resize + whole) / (2 * whole)
    }
}

/// A model that reads.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedText {
    /// Weights.
    pub model: TextModel,
    /// How text becomes tokens; `max_tokens` is the model's own limit.
    pub input: TextInput,
    /// Content of [`TextInput::tokenizer`].
    pub tokenizer: Vec<u8>,
    /// Name of the file that [`TextInput::chat_template`] is from, where that is not the one with the weights.
    pub template_from: Option<String>,
}

/// A chat template, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ChatTemplate {
    source: String,
    /// Name of the file.
    from: String,
}

/// The weights of a model that reads.
#[derive(Debug, Clone, PartialEq)]
pub enum TextModel {
    /// A causal language model, which generates.
    Decoder(Decoder),
    /// A text encoder, which embeds.
    Bert(BertModel),
}

/// The hash of one file; of several that of the list of their hashes in the order of their names, each as 64 hex digits and a
/// newline.
fn digest_of_files(digests: &[Sha256Digest]) -> Sha256Digest {
    match digests {
        [one] => *one,
        several => {
            let lines = several.iter().map(|digest| format!("{digest}\n"));
            Sha256Digest::of(lines.collect::<String>().as_bytes())
        }
    }
}

/// Longest text of a bundle: positions are numbered with 16 bits.
const MAX_TOKENS: usize = 65_535;

/// Name of the tokenizer in a bundle.
const TOKENIZER: &str = "tokenizer.json";
