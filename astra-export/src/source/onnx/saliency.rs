//! What comes after the encoder: nothing, or a convolutional decoder. Read from the graph's output backwards:
//! `Sigmoid(Resize(Conv1x1(Relu(BatchNormalization(ConvTranspose(... Reshape(Transpose(Slice(features))) ...))))))`.

use super::Mismatch;
use super::encoder::Encoder;
use super::index::{Index, attribute, expect_ints, expect_text, input};
use crate::family::vit::{Head, Saliency, UpConvolution};
use crate::family::weights::Linear;
use crate::graph::proto::{GraphProto, NodeProto};

/// More stages than this would make an image of a single patch larger than any input.
const MAX_STAGES: usize = 12;
/// Largest kernel, stride or padding that is plausible; keeps arithmetic on sizes from overflowing.
const MAX_SIDE: usize = 64;

pub(super) fn read(
    index: &Index<'_>,
    graph: &GraphProto,
    encoder: &Encoder<'_>,
) -> Result<Head, Mismatch> {
    let [answer] = graph.output.as_slice() else {
        let found = format!("{} outputs", graph.output.len());
        return Err(Mismatch::new("graph", found, "one"));
    };
    if answer.name == encoder.features {
        return Ok(Head::Features);
    }
    let sigmoid = index.producer_of(&answer.name, "Sigmoid")?;
    let resize = index.producer_of(input(sigmoid, 0)?, "Resize")?;
    expect_text(resize, "mode", "linear")?;
    expect_text(resize, "coordinate_transformation_mode", "half_pixel")?;
    let conv = index.producer_of(input(resize, 0)?, "Conv")?;
    let last = read_last(index, conv)?;

    let mut stages = Vec::new();
    let mut channels = last.inputs;
    let mut value = input(conv, 0)?;
    while index.producer(value)?.op_type == "Relu" && stages.len() < MAX_STAGES {
        let (stage, before) = read_stage(index, value, channels)?;
        channels = stage.inputs;
        value = before;
        stages.push(stage);
    }
    stages.reverse();
    check_features(index, value, encoder)?;
    if channels != encoder.hidden() {
        let found = format!("{channels} channels in");
        let expected = format!("the {} of the encoder", encoder.hidden());
        return Err(Mismatch::new(&conv.name, found, expected));
    }
    Ok(Head::Saliency(Saliency { stages, last }))
}

fn read_last(index: &Index<'_>, conv: &NodeProto) -> Result<Linear, Mismatch> {
    let weight = index.floats(input(conv, 1)?)?;
    let [_, channels, _, _] = weight.sides("[1, channels, 1, 1]")?;
    expect_ints(conv, "strides", &[1, 1], &[1, 1])?;
    expect_ints(conv, "pads", &[0; 4], &[0; 4])?;
    Ok(Linear {
        inputs: channels,
        outputs: 1,
        weight: weight.into_values(&[1, channels, 1, 1])?,
        bias: index.floats(input(conv, 2)?)?.into_values(&[1])?,
    })
}

/// The stage whose ReLU makes `value`, and the name of what goes into it.
fn read_stage<'a>(
    index: &Index<'a>,
    value: &str,
    outputs: usize,
) -> Result<(UpConvolution, &'a str), Mismatch> {
    let relu = index.producer_of(value, "Relu")?;
    let mut node = index.producer(input(relu, 0)?)?;
    let norm = (node.op_type == "BatchNormalization").then_some(node);
    if norm.is_some() {
        node = index.producer(input(node, 0)?)?;
    }
    if node.op_type != "ConvTranspose" {
        return Err(Mismatch::new(&node.name, &node.op_type, "ConvTranspose"));
    }
    let mut stage = read_convolution(index, node, outputs)?;
    if let Some(norm) = norm {
        let (scale, shift) = read_batch_norm(index, norm, outputs)?;
        stage.then_affine(&scale, &shift);
    }
    Ok((stage, input(node, 0)?))
}

fn read_convolution(
    index: &Index<'_>,
    node: &NodeProto,
    outputs: usize,
) -> Result<UpConvolution, Mismatch> {
    let weight = index.floats(input(node, 1)?)?;
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
        bias: index.floats(input(node, 2)?)?.into_values(&[outputs])?,
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
    index: &Index<'_>,
    node: &NodeProto,
    channels: usize,
) -> Result<(Vec<f32>, Vec<f32>), Mismatch> {
    let read = |number| index.floats(input(node, number)?)?.into_values(&[channels]);
    let (weight, bias, mean, variance) = (read(1)?, read(2)?, read(3)?, read(4)?);
    let epsilon = attribute(node, "epsilon").and_then(|value| value.f);
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

/// `value` must be the patches of the features as an image: the rows after the class token, transposed, reshaped.
fn check_features(index: &Index<'_>, value: &str, encoder: &Encoder<'_>) -> Result<(), Mismatch> {
    let reshape = index.producer_of(value, "Reshape")?;
    let transpose = index.producer_of(input(reshape, 0)?, "Transpose")?;
    expect_ints(transpose, "perm", &[2, 1, 0], &[0, 2, 1])?;
    let slice = index.producer_of(input(transpose, 0)?, "Slice")?;
    let source = input(slice, 0)?;
    if source != encoder.features {
        let found = format!("a slice of {source}");
        return Err(Mismatch::new(&slice.name, found, encoder.features));
    }
    let (first, axis) = (
        index.integers(input(slice, 1)?)?,
        index.integers(input(slice, 3)?)?,
    );
    if first != [1] || axis != [1] {
        let found = format!("first {first:?} along {axis:?}");
        let expected = "[1] along [1], all but the class token";
        return Err(Mismatch::new(&slice.name, found, expected));
    }
    Ok(())
}
