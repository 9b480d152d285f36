//! What a file is, before it is read as a vision Transformer.

use std::collections::BTreeSet;

use super::Mismatch;
use super::graph::operator_of;
use crate::graph::proto::{GraphProto, ModelProto, TensorProto, ValueInfoProto, data_type};

/// Which exports are read, and what to do with others; ends every refusal.
pub(super) const READ: &str = "read are ONNX exports of DINOv2 and ViT from transformers, torch.hub or timm, by \
    torch.onnx.export (TorchScript or dynamo=True) or optimum, neither quantized nor fused; for other files give the \
    model's Hugging Face directory with --hf";

/// Operators that compute with narrow integers.
const QUANTIZED: [&str; 12] = [
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "ConvInteger",
    "QLinearMatMul",
    "QLinearConv",
    "MatMulNBits",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "QAttention",
    "QGemm",
];

/// The image that goes into a graph, as far as its dimensions are fixed.
pub(super) struct ImageInput<'a> {
    pub(super) name: &'a str,
    pub(super) batch: Option<usize>,
    pub(super) size: Option<usize>,
    /// Masks of patches: inputs that training alone uses.
    pub(super) masks: Vec<(&'a str, Vec<usize>)>,
}

/// Refuses what is no vision Transformer, or one in a form that is not read, by what it seems to be.
pub(super) fn check<'a>(
    model: &ModelProto,
    graph: &'a GraphProto,
) -> Result<ImageInput<'a>, Mismatch> {
    let operators: BTreeSet<&str> = graph
        .node
        .iter()
        .map(|node| node.op_type.as_str())
        .collect();
    let quantized: Vec<_> = QUANTIZED
        .into_iter()
        .filter(|name| operators.contains(name))
        .collect();
    if !quantized.is_empty() {
        let found = format!("quantized weights ({})", quantized.join(", "));
        return Err(Mismatch::new(
            "graph",
            found,
            "floats: the file the quantized one was made from",
        ));
    }
    let constants: BTreeSet<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs: Vec<_> = graph
        .input
        .iter()
        .filter(|input| !constants.contains(input.name.as_str()))
        .collect();
    let image = image_input(&inputs, &operators)?;
    if let Some(function) = model.functions.first() {
        let found = format!(
            "calls of functions ({}), as torch.onnx.dynamo_export writes them",
            function.name
        );
        return Err(Mismatch::new(
            "graph",
            found,
            "operators of ONNX alone: torch.onnx.export(dynamo=True) of torch 2.5 or later",
        ));
    }
    let foreign = graph
        .node
        .iter()
        .find(|node| !matches!(node.domain.as_str(), "" | "ai.onnx"));
    if let Some(node) = foreign {
        let found = format!("{}, fused by an optimizer", operator_of(node));
        return Err(Mismatch::new(
            &node.name,
            found,
            "operators of ONNX alone: the file before it was optimized",
        ));
    }
    if !operators.contains("Softmax") && !operators.contains("Attention") {
        let kind = if operators.contains("Conv") {
            "a convolutional network"
        } else {
            "a network without attention"
        };
        return Err(Mismatch::new("graph", kind, "a vision Transformer"));
    }
    Ok(image)
}

fn image_input<'a>(
    inputs: &[&'a ValueInfoProto],
    operators: &BTreeSet<&str>,
) -> Result<ImageInput<'a>, Mismatch> {
    let is_image = |input: &&&ValueInfoProto| dims(input).is_some_and(|dims| dims.len() == 4);
    let names = || {
        inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if inputs.iter().any(|input| {
        matches!(
            input.name.as_str(),
            "input_ids" | "inputs_embeds" | "attention_mask"
        )
    }) {
        let found = format!("inputs {}: a model that reads text", names());
        let expected = "an image; language models are read with --hf DIR or --gguf FILE, text encoders with --hf DIR";
        return Err(Mismatch::new("graph", found, expected));
    }
    let masks = |image: &str| {
        let others = inputs.iter().filter(|input| input.name != image);
        let mask = |input: &&'a ValueInfoProto| {
            let dims = dims(input).unwrap_or_default();
            let dims = dims.iter().map(|dim| dim.unwrap_or(1)).collect::<Vec<_>>();
            (element_type(input) == Some(data_type::BOOL)).then_some((input.name.as_str(), dims))
        };
        others.map(mask).collect::<Option<Vec<_>>>()
    };
    let mut images = inputs.iter().filter(is_image);
    let (Some(image), None) = (images.next(), images.next()) else {
        let attends = if operators.contains("Softmax") {
            ""
        } else {
            ", and no attention"
        };
        let found = format!("inputs {}{attends}", names());
        return Err(Mismatch::new(
            "graph",
            found,
            "one image, [batch, 3, height, width]",
        ));
    };
    let Some(masks) = masks(&image.name) else {
        return Err(Mismatch::new(
            "graph",
            format!("inputs {}", names()),
            "one image and nothing else",
        ));
    };
    let Some([batch, channels, height, width]) =
        dims(image).and_then(|dims| <[_; 4]>::try_from(dims).ok())
    else {
        return Err(Mismatch::new(
            &image.name,
            "other dimensions",
            "[batch, 3, height, width]",
        ));
    };
    if !matches!(channels, None | Some(3))
        || matches!((height, width), (Some(height), Some(width)) if height != width)
    {
        let found = format!(
            "dimensions {:?}",
            [batch, channels, height, width].map(|dim| dim.unwrap_or(0))
        );
        return Err(Mismatch::new(
            &image.name,
            found,
            "[batch, 3, side, side], square",
        ));
    }
    Ok(ImageInput {
        name: &image.name,
        batch,
        size: height.or(width),
        masks,
    })
}

/// Dimensions of a value, as far as they are numbers; `None` if it is no tensor.
fn dims(value: &ValueInfoProto) -> Option<Vec<Option<usize>>> {
    let shape = value
        .r#type
        .as_ref()?
        .tensor_type
        .as_ref()?
        .shape
        .as_ref()?;
    let dims = shape.dim.iter().map(|dim| {
        let size = dim.dim_value.and_then(|size| usize::try_from(size).ok());
        size.filter(|&size| size > 0)
    });
    Some(dims.collect())
}

fn element_type(value: &ValueInfoProto) -> Option<i32> {
    Some(value.r#type.as_ref()?.tensor_type.as_ref()?.elem_type)
}

/// Sizes to evaluate a graph for that fits any: where its table of positions needs no resizing, and others.
pub(super) fn sizes(graph: &GraphProto) -> Vec<usize> {
    let kernel = |tensor: &&TensorProto| matches!(tensor.dims.as_slice(), [_, 3, height, width] if height == width);
    let patch = graph
        .initializer
        .iter()
        .find(kernel)
        .and_then(|tensor| tensor.dims.last());
    let Some(patch) = patch
        .and_then(|&patch| usize::try_from(patch).ok())
        .filter(|&patch| patch > 0)
    else {
        return Vec::new();
    };
    let tables = graph
        .initializer
        .iter()
        .filter_map(|tensor| match *tensor.dims.as_slice() {
            [1, rows, _] => usize::try_from(rows).ok(),
            [1, _, side, same] if side == same => usize::try_from(side)
                .ok()
                .and_then(|side| side.checked_mul(side)),
            _ => None,
        });
    let sides = tables.flat_map(|rows| [rows, rows.saturating_sub(1)]);
    let sides = sides
        .map(|rows| rows.isqrt())
        .filter(|side| (2..=255).contains(side));
    let mut known = BTreeSet::new();
    let all = sides
        .chain([16])
        .chain(2..=64)
        .filter(|&side| known.insert(side));
    all.map(|side| side.saturating_mul(patch)).collect()
}
