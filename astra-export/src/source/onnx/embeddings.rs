//! The embeddings inside an ONNX export of DINOv2: the projection of patches, the class token, the table of positions.

use super::index::{Index, attribute, expect_ints, expect_text, input};
use super::{Mismatch, Tensor};
use crate::family::weights::Linear;
use crate::graph::proto::NodeProto;
use crate::position::PositionTable;

/// Between a value and the constant it is a view of, there are not more nodes than this.
const MAX_VIEWS: usize = 16;

/// The projection, whose weights `[D, 3, p, p]` become rows of `3 p p` inputs, and p.
pub(super) fn read_projection(index: &Index<'_>, scope: &str) -> Result<(Linear, usize), Mismatch> {
    let name = format!("{scope}embeddings/patch_embeddings/projection/Conv");
    let conv = index.node(&name, "Conv")?;
    let weight = index.floats(input(conv, 1)?)?;
    let [hidden, _, patch, _] = weight.sides("[hidden, 3, patch, patch]")?;
    let weight = weight.into_values(&[hidden, 3, patch, patch])?;
    let step = i64::try_from(patch).unwrap_or(i64::MAX);
    expect_ints(conv, "strides", &[1, 1], &[step, step])?;
    expect_ints(conv, "pads", &[0; 4], &[0; 4])?;
    expect_ints(conv, "dilations", &[1, 1], &[1, 1])?;
    let bias = index.floats(input(conv, 2)?)?.into_values(&[hidden])?;
    let inputs = 3 * patch * patch;
    Ok((
        Linear::from_transposed(inputs, hidden, &weight, bias),
        patch,
    ))
}

/// The class token, its position added, and the positions of the patches. They meet in the one sum of the embeddings:
/// `Concat(class token, patches) + Concat(position of the class token, positions of the patches)`.
pub(super) fn read_tokens(
    index: &Index<'_>,
    scope: &str,
    hidden: usize,
) -> Result<(Vec<f32>, PositionTable), Mismatch> {
    let sum = index.node(&format!("{scope}embeddings/Add"), "Add")?;
    let tokens = index.producer_of(input(sum, 0)?, "Concat")?;
    let mut class_token = view(index, input(tokens, 0)?)?.into_values(&[1, 1, hidden])?;
    let added = input(sum, 1)?;
    let (class_position, positions) = if index.is_constant(added) {
        split_table(index.floats(added)?, hidden)?
    } else {
        let concat = index.producer_of(added, "Concat")?;
        let class = view(index, input(concat, 0)?)?.into_values(&[1, 1, hidden])?;
        let patches = view(index, input(concat, 1)?)?;
        let [_, rows, _] = patches.sides("[1, patches, hidden]")?;
        (class, patches.into_values(&[1, rows, hidden])?)
    };
    for (token, position) in class_token.iter_mut().zip(class_position) {
        *token += position;
    }
    let rows = positions.len() / hidden;
    let table = PositionTable::new(positions, hidden).ok_or_else(|| {
        let found = format!("{rows} positions of patches");
        Mismatch::new(&sum.name, found, "a square number of them")
    })?;
    Ok((class_token, table))
}

/// A table `[1, 1 + patches, hidden]` that was not resized in the graph.
fn split_table(table: Tensor, hidden: usize) -> Result<(Vec<f32>, Vec<f32>), Mismatch> {
    let [_, rows, _] = table.sides("[1, 1 + patches, hidden]")?;
    let mut class = table.into_values(&[1, rows, hidden])?;
    let patches = class.split_off(hidden.min(class.len()));
    Ok((class, patches))
}

/// The constant that a value is a view of, be it reshaped, repeated or resized. Resizing has to be the kind that
/// [`PositionTable`] does.
fn view(index: &Index<'_>, value: &str) -> Result<Tensor, Mismatch> {
    let mut value = value;
    for _ in 0..MAX_VIEWS {
        if index.is_constant(value) {
            return index.floats(value);
        }
        let node = index.producer(value)?;
        match node.op_type.as_str() {
            "Cast" | "Expand" | "Reshape" | "Transpose" => {}
            "Resize" => check_resize(node)?,
            other => {
                let expected = "a constant, reshaped, repeated or resized";
                return Err(Mismatch::new(&node.name, other, expected));
            }
        }
        value = input(node, 0)?;
    }
    Err(Mismatch::new(value, "a long way", "a constant"))
}

fn check_resize(node: &NodeProto) -> Result<(), Mismatch> {
    expect_text(node, "mode", "cubic")?;
    expect_text(node, "coordinate_transformation_mode", "half_pixel")?;
    // -0.75 is ONNX's default too.
    let sharpness = attribute(node, "cubic_coeff_a").and_then(|value| value.f);
    let widened = attribute(node, "antialias").and_then(|value| value.i);
    match (sharpness.unwrap_or(-0.75), widened.unwrap_or(0)) {
        (-0.75, 0) => Ok(()),
        (a, antialias) => {
            let found = format!("cubic_coeff_a {a}, antialias {antialias}");
            Err(Mismatch::new(&node.name, found, "-0.75 and 0"))
        }
    }
}
