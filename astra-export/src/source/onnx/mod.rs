//! ONNX exports of DINOv2.
//!
//! Exporters rename weights of matrix products (`onnx::MatMul_1966`) but keep the module's path in the names of nodes
//! (`/backbone/encoder/layer.0/attention/attention/query/MatMul`) and the names of biases and norms, so weights are found
//! through the nodes that use them. Every float tensor of the file must be accounted for in the end: one that is not belongs
//! to a part of the model that would be lost.

mod embeddings;
mod encoder;
mod index;
mod saliency;

use std::path::Path;

use astra_bundle::{Filter, Fit, Sha256Digest};
use prost::Message;

use super::error::{Mismatch, SourceError, read};
use super::{Content, Imported, ImportedVit, PictureInput, Tensor};
use crate::family::vit::{ImageScale, VitModel};
use crate::graph::proto::ModelProto;
use index::Index;

/// Side of the input that these models are used with.
const SIZE: usize = 224;

/// Reads the model in `path`.
///
/// The file does not say how its input is scaled: ImageNet's means and deviations are taken, which DINOv2 is trained with, and
/// photographs are padded to squares.
///
/// # Errors
/// [`SourceError`]
pub fn open(path: &Path) -> Result<Imported, SourceError> {
    let bytes = read(path)?;
    let model = ModelProto::decode(bytes.as_slice()).map_err(|error| SourceError::Format {
        path: path.to_owned(),
        format: "an ONNX file",
        error: error.to_string(),
    })?;
    let file = path.file_name().unwrap_or_default();
    Ok(Imported {
        content: Content::Image(ImportedVit {
            model: import(&model).map_err(|mismatch| mismatch.at(path))?,
            input: PictureInput {
                scale: ImageScale::IMAGENET,
                fit: Fit::Pad,
                filter: Filter::Triangle,
                size: SIZE,
                resize: SIZE,
            },
        }),
        file: file.to_string_lossy().into_owned(),
        sha256: Sha256Digest::of(&bytes),
        warnings: Vec::new(),
    })
}

/// Reads a decoded file.
///
/// # Errors
/// The first part of it that is not what is known how to read.
pub fn import(model: &ModelProto) -> Result<VitModel, Mismatch> {
    let Some(graph) = &model.graph else {
        return Err(Mismatch::missing("graph", "a graph"));
    };
    let index = Index::new(graph)?;
    let encoder = encoder::read(&index)?;
    let head = saliency::read(&index, graph, &encoder)?;
    index.check_all_read()?;
    Ok(encoder.into_model(head))
}
