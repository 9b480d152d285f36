//! ONNX exports of DINOv2 and of ViT.
//!
//! - `file`: the file and those beside it
//! - `survey`: what the file is
//! - `graph`: what every value of the graph is, by what computes it
//! - `encoder`, `attention`, `embeddings`, `parts`: the encoder, by its structure
//! - `head`, `saliency`: what is made of its features
//!
//! Exporters and their versions name nodes and weights in many ways, write one operator as several, and split, reshape and
//! transpose in different orders, so nothing is found by name. The graph is evaluated for one size of image, which leaves
//! the nodes that compute something and which elements they take; the model is matched against that, from the outputs
//! backwards. Whatever changes the result is compared: epsilons, the kind of GELU, the scale and the heads of attention,
//! masks, how positions are resized. Every float tensor that a node uses must be accounted for in the end: one that is not
//! belongs to a part of the model that would be lost.

mod attention;
mod embeddings;
mod encoder;
mod file;
mod graph;
mod head;
mod parts;
mod saliency;
mod survey;

use std::path::Path;

use astra_bundle::{Filter, Fit};

use super::error::{Mismatch, SourceError};
use super::hugging_face::{self, Architecture};
use super::{Content, Imported, ImportedVit, PictureInput, Tensor};
use crate::family::vit::{ImageScale, VitModel};
use crate::graph::proto::{AttributeProto, GraphProto, ModelProto, NodeProto};
use graph::Graph;
use head::Found;

/// Side of the input that these models are used with.
const SIZE: usize = 224;

/// The image that the graph is evaluated for.
struct Image<'a> {
    /// Name of the input.
    name: &'a str,
    /// Images at once.
    batch: usize,
    /// Pixels a side.
    size: usize,
}

/// Reads the model in `path`.
///
/// The file does not say how its input is scaled. If there is a `preprocessor_config.json` beside it, as optimum writes one,
/// that says it. Otherwise ImageNet's means and deviations are taken, which DINOv2 is trained with, and photographs are padded
/// to squares; a model without layer scale, which may be a ViT that is trained with others, is refused.
///
/// # Errors
/// [`SourceError`]
pub fn open(path: &Path) -> Result<Imported, SourceError> {
    let (model, sha256) = file::open(path)?;
    let found = import_model(&model).map_err(|mismatch| mismatch.at(path))?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let architecture = match found.layer_scale {
        true => Architecture::Dinov2,
        false => Architecture::Vit,
    };
    let input = match hugging_face::preprocessing(dir, architecture)? {
        Some(input) => input,
        None if found.layer_scale => PictureInput {
            scale: ImageScale::IMAGENET,
            fit: Fit::Pad,
            filter: Filter::Triangle,
            size: SIZE,
            resize: SIZE,
        },
        None => {
            let found = "no preprocessor_config.json beside the file";
            let expected = "one with image_mean and image_std: an ONNX file does not have them, and they differ among ViTs \
                (DINOv2's are known, but this model has no layer scale, or an optimizer took it away); or the model's \
                Hugging Face directory with --hf";
            return Err(Mismatch::new("pixels", found, expected).at(path));
        }
    };
    let left_out = found.left_out.iter().map(|name| {
        format!(
            "{}: output {name:?} is left out: it is computed from the weights of another",
            path.display()
        )
    });
    let file = path.file_name().unwrap_or_default();
    Ok(Imported {
        content: Content::Image(ImportedVit {
            model: found.model,
            input,
        }),
        file: file.to_string_lossy().into_owned(),
        sha256,
        warnings: left_out.collect(),
    })
}

/// Reads a decoded file.
///
/// # Errors
/// The first part of it that is not what is known how to read.
pub fn import(model: &ModelProto) -> Result<VitModel, Mismatch> {
    import_model(model).map(|found| found.model)
}

fn import_model(model: &ModelProto) -> Result<Found, Mismatch> {
    let imported = match &model.graph {
        Some(graph) => import_graph(model, graph),
        None => Err(Mismatch::missing("graph", "a graph")),
    };
    imported.map_err(|mismatch| Mismatch {
        expected: format!("{}; {}", mismatch.expected, survey::READ),
        ..mismatch
    })
}

fn import_graph(model: &ModelProto, graph: &GraphProto) -> Result<Found, Mismatch> {
    let input = survey::check(model, graph)?;
    let own = model
        .opset_import
        .iter()
        .find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    // Files without one are as old as opset 1.
    let opset = own.map_or(1, |set| set.version);
    let sizes = match input.size {
        Some(size) => vec![size],
        None => survey::sizes(graph),
    };
    let mut refusal: Option<Refusal> = None;
    for size in sizes {
        let image = Image {
            name: input.name,
            batch: input.batch.unwrap_or(1),
            size,
        };
        match import_at(graph, opset, &image, &input.masks) {
            Ok(imported) => return Ok(imported),
            // The first size is the likeliest, among those that the graph takes.
            Err(error) => {
                let better = refusal
                    .as_ref()
                    .is_none_or(|before| !before.evaluated && error.evaluated);
                if better {
                    refusal = Some(error);
                }
            }
        }
    }
    let nothing = || {
        let expected = "weights [hidden, 3, patch, patch] of a projection of patches";
        Mismatch::missing("graph", expected)
    };
    Err(refusal.map_or_else(nothing, |refusal| refusal.mismatch))
}

/// Why a graph is refused that is evaluated for one size.
struct Refusal {
    mismatch: Mismatch,
    /// Whether the graph takes images of that size.
    evaluated: bool,
}

fn import_at<'a>(
    graph: &'a GraphProto,
    opset: i64,
    image: &Image<'a>,
    masks: &[(&'a str, Vec<usize>)],
) -> Result<Found, Refusal> {
    let refused = |evaluated| {
        move |mismatch| Refusal {
            mismatch,
            evaluated,
        }
    };
    let mut inputs = vec![(image.name, vec![image.batch, 3, image.size, image.size])];
    inputs.extend_from_slice(masks);
    let evaluated = Graph::evaluate(graph, opset, &inputs).map_err(refused(false))?;
    let outputs = graph.output.iter().map(|output| {
        let value = evaluated.value(&output.name)?;
        Ok((output.name.as_str(), value.clone()))
    });
    let outputs = outputs
        .collect::<Result<Vec<_>, Mismatch>>()
        .map_err(refused(true))?;
    let imported = head::read(&evaluated, image, &outputs).map_err(refused(true))?;
    evaluated
        .check_all_read(&graph.node)
        .map_err(refused(true))?;
    Ok(imported)
}

/// An attribute of a node.
fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
}

/// Refuses a node whose attribute `name` is a string other than `expected`.
fn expect_text(node: &NodeProto, name: &str, expected: &str) -> Result<(), Mismatch> {
    let found = attribute(node, name).and_then(|value| value.s.as_deref());
    let found = String::from_utf8_lossy(found.unwrap_or_default());
    if found == expected {
        return Ok(());
    }
    let found = format!("{name} {found:?}");
    Err(Mismatch::new(&node.name, found, format!("{expected:?}")))
}

/// Refuses a node whose attribute `name` are integers other than `expected`; left out, they are `default`.
fn expect_ints(
    node: &NodeProto,
    name: &str,
    default: &[i64],
    expected: &[i64],
) -> Result<(), Mismatch> {
    let found = attribute(node, name).map_or(default, |value| value.ints.as_slice());
    if found == expected {
        return Ok(());
    }
    let found = format!("{name} {found:?}");
    Err(Mismatch::new(&node.name, found, format!("{expected:?}")))
}
