//! Files of pretrained models, read into a family's weights.
//!
//! - [`Tensor`]: float32 values with dimensions, from whatever precision a file has
//! - [`onnx`]: ONNX exports of DINOv2
//! - [`hugging_face`]: directories of DINOv2 and ViT with `config.json` and `model.safetensors`
//!
//! Files are untrusted: whatever does not have the structure that is known here is refused, with the name of the tensor, node
//! or field, what was found and what was expected.

mod error;
pub mod hugging_face;
pub mod onnx;
mod tensor;

use astra_bundle::{Filter, Fit, Sha256Digest};

use crate::family::vit::{ImageScale, VitModel};

pub use error::{Mismatch, SourceError};
pub use tensor::{Precision, Tensor};

/// A model as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Weights and head.
    pub model: VitModel,
    /// How bytes become values.
    pub scale: ImageScale,
    /// How a photograph that is not square fits in.
    pub fit: Fit,
    /// Filter it is resized with.
    pub filter: Filter,
    /// Name of the file with the weights, without directories.
    pub file: String,
    /// Its hash.
    pub sha256: Sha256Digest,
}
