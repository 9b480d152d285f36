//! A convolutional decoder that draws a map from the patches, read from the map backwards:
//! `Sigmoid(Resize(Conv1x1(Relu(BatchNormalization(ConvTranspose(... patches as an image ...))))))`.

use super::Image;
use super::encoder::Encoder;
use super::graph::layout::Layout;
use super::graph::{Graph, Step, Value};
use super::{Mismatch, attribute, expect_ints, expect_text};
use crate::family::vit::{Saliency, UpConvolution};
use crate::family::weights::Linear;
use crate::graph::proto::NodeProto;

/// More stages than this would make an image of a single patch larger than any input.
const MAX_STAGES: usize = 12;
/// Largest kernel, stride or padding that is plausible; keeps arithmetic on sizes from overflowing.
const MAX_SIDE: usize = 64;

/// What the stages of a map are drawn from; `None` for what is no map.
pub(super) fn image_of(graph: &Graph<'_>, map: &Value) -> Option<Value> {
    let sigmoid = graph.whole_step_of(map, "Sigmoid")?;
    let resize = graph.whole_step_of(sigmoid.input(0).ok()?, "Resize")?;
    let conv = graph.whole_step_of(resize.input(0).ok()?, "Conv")?;
    let mut value = conv.input(0).ok()?;
    for _ in 0..MAX_STAGES {
        let Some(relu) = graph.whole_step_of(value, "Relu") else {
            break;
        };
        let mut up = relu.input(0).ok()?;
        if let Some(norm) = graph.whole_step_of(up, "BatchNormalization") {
            up = norm.input(0).ok()?;
        }
        value = graph.whole_step(up)?.input(0).ok()?;
    }
    Some(value.clone())
}

pub(super) fn read(
    graph: &Graph<'_>,
    encoder: &Encoder,
    image: &Image<'_>,
    map: &Value,
) -> Result<Saliency, Mismatch> {
    let expect = |value: &Value, operator: &str| {
        graph
            .whole_step_of(value, operator)
            .ok_or_else(|| graph.refuse(value, operator))
    };
    let sigmoid = expect(map, "Sigmoid")?;
    let resize = expect(sigmoid.input(0)?, "Resize")?;
    expect_text(resize.node, "mode", "linear")?;
    expect_text(resize.node, "coordinate_transformation_mode", "half_pixel")?;
    if map.layout.count() != encoder.batch * image.size * image.size {
        return Err(graph.refuse(map, "a map as large as the image"));
    }
    let conv = expect(resize.input(0)?, "Conv")?;
    let last = read_last(graph, conv)?;

    let mut stages = Vec::new();
    let mut channels = last.inputs;
    let mut value = conv.input(0)?;
    while let Some(relu) = graph
        .whole_step_of(value, "Relu")
        .filter(|_| stages.len() < MAX_STAGES)
    {
        let (stage, before) = read_stage(graph, relu, channels)?;
        channels = stage.inputs;
        value = before;
        stages.push(stage);
    }
    stages.reverse();
    check_image(graph, value, encoder)?;
    if channels != encoder.hidden() {
        let found = format!("{channels} channels in");
        let expected = format!("the {} of the encoder", encoder.hidden());
        return Err(Mismatch::new(&conv.node.name, found, expected));
    }
    Ok(Saliency { stages, last })
}

fn read_last(graph: &Graph<'_>, conv: &Step<'_>) -> Result<Linear, Mismatch> {
    let weight = graph.weights(conv.input(1)?)?;
    let [_, channels, _, _] = weight.sides("[1, channels, 1, 1]")?;
    expect_ints(conv.node, "strides", &[1, 1], &[1, 1])?;
    expect_ints(conv.node, "pads", &[0; 4], &[0; 4])?;
    Ok(Linear {
        inputs: channels,
        outputs: 1,
        weight: weight.into_values(&[1, channels, 1, 1])?,
        bias: graph.weights(conv.input(2)?)?.into_values(&[1])?,
        blocks: None,
    })
}

/// The stage that ends in a ReLU, and what goes into it.
fn read_stage<'s>(
    graph: &'s Graph<'_>,
    relu: &'s Step<'_>,
    outputs: usize,
) -> Result<(UpConvolution, &'s Value), Mismatch> {
    let mut value = relu.input(0)?;
    let norm = graph.whole_step_of(value, "BatchNormalization");
    if let Some(norm) = norm {
        value = norm.input(0)?;
    }
    let up = graph
        .whole_step_of(value, "ConvTranspose")
        .ok_or_else(|| graph.refuse(value, "ConvTranspose"))?;
    let mut stage = read_convolution(graph, up, outputs)?;
    if let Some(norm) = norm {
        let (scale, shift) = read_batch_norm(graph, norm, outputs)?;
        stage.then_affine(&scale, &shift);
    }
    Ok((stage, up.input(0)?))
}

fn read_convolution(
    graph: &Graph<'_>,
    step: &Step<'_>,
    outputs: usize,
) -> Result<UpConvolution, Mismatch> {
    let node = step.node;
    let weight = graph.weights(step.input(1)?)?;
    let [inputs, _, kernel, _] = weight.sides("[inputs, outputs, kernel, kernel]")?;
    expect_ints(node, "dilations", &[1, 1], &[1, 1])?;
    expect_ints(node, "output_padding", &[0, 0], &[0, 0])?;
    let groups = attribute(node, "group")
        .and_then(|value| value.i)
        .unwrap_or(1);
    if groups != 1 {
        return Err(Mismatch::new(&node.name, format!("{groups} groups"), 1));
    }
    Ok(UpConvolution {
        inputs,
        outputs,
        kernel: within(node, "kernel", kernel, 1)?,
        stride: equal_ints(node, "strides", 1, 1)?,
        padding: equal_ints(node, "pads", 0, 0)?,
        weight: weight.into_values(&[inputs, outputs, kernel, kernel])?,
        bias: graph.weights(step.input(2)?)?.into_values(&[outputs])?,
    })
}

/// The one value of an attribute that is the same for all sides, and no less than `least`.
fn equal_ints(
    node: &NodeProto,
    name: &str,
    default: usize,
    least: usize,
) -> Result<usize, Mismatch> {
    let ints = attribute(node, name).map(|value| value.ints.as_slice());
    let Some([first, rest @ ..]) = ints else {
        return Ok(default);
    };
    match usize::try_from(*first) {
        Ok(value) if rest.iter().all(|other| other == first) => within(node, name, value, least),
        _ => {
            let found = format!("{name} {first}, {rest:?}");
            Err(Mismatch::new(&node.name, found, "the same on all sides"))
        }
    }
}

fn within(node: &NodeProto, name: &str, value: usize, least: usize) -> Result<usize, Mismatch> {
    if (least..=MAX_SIDE).contains(&value) {
        return Ok(value);
    }
    let expected = format!("{least} to {MAX_SIDE}");
    Err(Mismatch::new(
        &node.name,
        format!("{name} {value}"),
        expected,
    ))
}

/// Factor and summand of each channel: `(x - mean) / sqrt(var + epsilon) * weight + bias`.
fn read_batch_norm(
    graph: &Graph<'_>,
    step: &Step<'_>,
    channels: usize,
) -> Result<(Vec<f32>, Vec<f32>), Mismatch> {
    let read = |number| graph.weights(step.input(number)?)?.into_values(&[channels]);
    let (weight, bias, mean, variance) = (read(1)?, read(2)?, read(3)?, read(4)?);
    let epsilon = attribute(step.node, "epsilon").and_then(|value| value.f);
    // ONNX's default.
    let epsilon = epsilon.unwrap_or(1e-5);
    let scale: Vec<f32> = weight
        .iter()
        .zip(&variance)
        .map(|(weight, variance)| weight / (variance + epsilon).sqrt())
        .collect();
    let shift = bias
        .iter()
        .zip(mean.iter().zip(&scale))
        .map(|(bias, (mean, scale))| bias - mean * scale)
        .collect();
    Ok((scale, shift))
}

/// `value` must be the patches of the features as an image: `[batch, D, side, side]`.
fn check_image(graph: &Graph<'_>, value: &Value, encoder: &Encoder) -> Result<(), Mismatch> {
    let (hidden, patches) = (encoder.hidden(), encoder.rows() - 1);
    let runs = [
        (encoder.batch, encoder.rows() * hidden),
        (hidden, 1),
        (patches, hidden),
    ];
    let all = graph.all_of(value);
    let dims = [encoder.batch, hidden, encoder.side, encoder.side];
    let arranged =
        value.layout.dims() == dims && value.layout.same_elements(&Layout::strided(hidden, &runs));
    if arranged && graph.same(&all, encoder.features()) {
        return Ok(());
    }
    Err(graph.refuse(
        value,
        "the patches of the features, without the class token, as an image",
    ))
}
