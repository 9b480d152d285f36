//! What a file is, before it is read as a vision Transformer.

use std::collections::BTreeSet;

use super::Mismatch;
use super::graph::operator_of;
use crate::graph::proto::{
    GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, data_type,
};

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
        return refuse(found, "floats: the file the quantized one was made from");
    }
    let image = image_input(graph)?;
    check_domains(model, graph)?;
    if operators.contains("Softmax") || operators.contains("Attention") {
        return Ok(image);
    }
    let kind = match operators.contains("Conv") {
        true => "a convolutional network",
        false => "a network without attention",
    };
    refuse(kind.to_owned(), "a vision Transformer")
}

fn refuse<T>(found: String, expected: &str) -> Result<T, Mismatch> {
    Err(Mismatch::new("graph", found, expected))
}

/// Operators of other domains are functions of the file, or those of a program that fuses operators.
fn check_domains(model: &ModelProto, graph: &GraphProto) -> Result<(), Mismatch> {
    let own = |node: &&NodeProto| matches!(node.domain.as_str(), "" | "ai.onnx");
    let Some(node) = graph.node.iter().find(|node| !own(node)) else {
        return Ok(());
    };
    let operator = operator_of(node);
    let (found, expected) = match model.functions.as_slice() {
        [] => (
            format!("{operator}, fused by an optimizer"),
            "operators of ONNX alone: the file before it was optimized",
        ),
        _ => (
            format!("{operator}, a function, as torch.onnx.dynamo_export writes them"),
            "operators of ONNX alone: torch.onnx.export(dynamo=True) of torch 2.5 or later",
        ),
    };
    Err(Mismatch::new(&node.name, found, expected))
}

/// The one image that goes into a graph, and masks.
fn image_input(graph: &GraphProto) -> Result<ImageInput<'_>, Mismatch> {
    // Files of IR versions before 4 have their constants among the inputs.
    let constants: BTreeSet<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !constants.contains(input.name.as_str()));
    let inputs: Vec<_> = inputs.collect();
    let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
    let listed = format!("inputs {}", names.join(", "));
    if ["input_ids", "inputs_embeds", "attention_mask"]
        .iter()
        .any(|name| names.contains(name))
    {
        let expected = "an image; language models are read with --hf DIR or --gguf FILE, text encoders with --hf DIR";
        return refuse(format!("{listed}: a model that reads text"), expected);
    }
    let sides = |input: &ValueInfoProto| <[Option<usize>; 4]>::try_from(dims(input)?).ok();
    let mut images = inputs
        .iter()
        .filter_map(|input| Some((*input, sides(input)?)));
    let (Some((image, sides)), None) = (images.next(), images.next()) else {
        return refuse(listed, "one image, [batch, 3, height, width]");
    };
    let others = inputs.iter().filter(|input| input.name != image.name);
    let masks = others.map(|input| {
        let dims = dims(input).unwrap_or_default();
        let dims = dims.iter().map(|dim| dim.unwrap_or(1)).collect::<Vec<_>>();
        (element_type(input) == Some(data_type::BOOL)).then_some((input.name.as_str(), dims))
    });
    let Some(masks) = masks.collect() else {
        return refuse(listed, "one image and nothing else");
    };
    let [batch, channels, height, width] = sides;
    let square = height.is_none() || width.is_none() || height == width;
    if !square || !matches!(channels, None | Some(3)) {
        let sides = sides.map(|side| side.map_or("any".to_owned(), |side| side.to_string()));
        let found = format!("dimensions [{}]", sides.join(", "));
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
