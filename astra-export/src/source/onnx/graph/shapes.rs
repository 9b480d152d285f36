//! Dimensions of what nodes compute.

use super::evaluate::Inputs;
use super::fold::broadcast;
use super::views::{int, resolved};
use super::{Graph, Mismatch, Numbers, Value};
use crate::graph::proto::NodeProto;
use crate::source::onnx::attribute;

impl<'a> Graph<'a> {
    /// Dimensions of the result of `node`; `None` if the operator is not known.
    pub(super) fn shape_of(
        &self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Option<Vec<usize>>, Mismatch> {
        let dims = |number: usize| {
            let input = inputs.get(number).and_then(Option::as_ref);
            input.map(|input| input.layout.dims())
        };
        let (Some(first), second) = (dims(0), dims(1)) else {
            return Ok(None);
        };
        let known = match (node.op_type.as_str(), &second) {
            (
                "Softmax" | "LayerNormalization" | "BatchNormalization" | "Gelu" | "Relu"
                | "Sigmoid" | "Tanh" | "Erf" | "Sqrt" | "Reciprocal" | "IsNaN" | "Neg" | "Exp",
                _,
            ) => Some(first),
            ("Add" | "Sub" | "Mul" | "Div" | "Pow", Some(second)) => broadcast(&first, second),
            ("Where", Some(second)) => {
                dims(2).and_then(|third| broadcast(&first, &broadcast(second, &third)?))
            }
            ("MatMul", Some(second)) => product(&first, second),
            ("Gemm", Some(second)) => gemm(node, &first, second),
            ("Conv", Some(second)) => convolution(node, &first, second),
            ("ConvTranspose", Some(second)) => transposed_convolution(node, &first, second),
            ("ReduceMean", _) => {
                let axes = inputs.get(1).and_then(Option::as_ref);
                self.axes(node, axes)
                    .and_then(|axes| reduced(node, &first, &axes))
            }
            ("Concat", _) => {
                let all = inputs.iter().flatten().map(|input| input.layout.dims());
                joined(node, &all.collect::<Vec<_>>())
            }
            ("Resize", _) => self.resized(node, &first, inputs),
            ("Attention", Some(_)) => dims(2).and_then(|third| attended(node, &first, &third)),
            _ => return Ok(None),
        };
        match known {
            Some(dims) => Ok(Some(dims)),
            None => Err(self.do_not_fit(node, inputs)),
        }
    }

    /// The constant that does not fit, which is what an edited file has, or else the node.
    fn do_not_fit(&self, node: &NodeProto, inputs: &Inputs) -> Mismatch {
        let constant = inputs
            .iter()
            .flatten()
            .find(|input| self.is_constant(input));
        let dims: Vec<_> = inputs
            .iter()
            .flatten()
            .map(|input| input.layout.dims())
            .collect();
        match constant {
            Some(constant) => {
                let found = format!("dimensions {:?}", constant.layout.dims());
                let expected = format!("what fits {} {} of {dims:?}", node.op_type, node.name);
                Mismatch::new(self.name_of(constant), found, expected)
            }
            None => Mismatch::new(
                &node.name,
                format!("{} of {dims:?}", node.op_type),
                "dimensions that fit",
            ),
        }
    }

    /// Sizes requested, or factors of the sizes there are.
    fn resized(&self, node: &NodeProto, dims: &[usize], inputs: &Inputs) -> Option<Vec<usize>> {
        let list = |number: usize| {
            let list = inputs.get(number).and_then(Option::as_ref)?;
            self.numbers(list).ok()?.filter(|numbers| numbers.len() > 0)
        };
        if attribute(node, "axes").is_some() {
            return None;
        }
        match (list(3), list(2)) {
            (Some(Numbers::Ints(sizes)), _) if sizes.len() == dims.len() => sizes
                .iter()
                .map(|&size| usize::try_from(size).ok())
                .collect(),
            (None, Some(Numbers::Floats(scales))) if scales.len() == dims.len() => {
                let sides = dims.iter().zip(&scales);
                // In single precision, as ONNX Runtime does.
                Some(
                    sides
                        .map(|(&dim, scale)| (dim as f32 * scale) as usize)
                        .collect(),
                )
            }
            _ => None,
        }
    }

    /// The factors a Resize uses for every dimension.
    pub(in crate::source::onnx) fn resize_factors(
        &self,
        inputs: &Inputs,
        from: &[usize],
        to: &[usize],
    ) -> Vec<f32> {
        let scales = inputs.get(2).and_then(Option::as_ref);
        match scales.and_then(|scales| self.numbers(scales).ok().flatten()) {
            Some(Numbers::Floats(scales)) if scales.len() == from.len() => scales,
            _ => from
                .iter()
                .zip(to)
                .map(|(&from, &to)| to as f32 / from as f32)
                .collect(),
        }
    }

    /// Whether `axis` of a node is the last of `value`.
    pub(in crate::source::onnx) fn is_last_axis(&self, node: &NodeProto, value: &Value) -> bool {
        let rank = value.layout.rank();
        // Softmax before opset 13 goes over all dimensions from 1 on by default.
        let default = if node.op_type == "Softmax" && self.opset < 13 {
            1
        } else {
            -1
        };
        let axis = int(node, "axis").unwrap_or(default);
        resolved(&[axis], rank).is_some_and(|axis| axis == [rank - 1])
    }

    /// The dimensions a ReduceMean goes over.
    pub(in crate::source::onnx) fn reduced_axes(
        &self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Option<Vec<usize>> {
        let axes = self.axes(node, inputs.get(1).and_then(Option::as_ref))?;
        resolved(&axes, inputs.first()?.as_ref()?.layout.rank())
    }
}

fn product(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let ([a_outer @ .., rows, inner], [b_outer @ .., other, columns]) = (a, b) else {
        return None;
    };
    let mut dims = broadcast(a_outer, b_outer)?;
    dims.extend([*rows, *columns]);
    (inner == other).then_some(dims)
}

fn gemm(node: &NodeProto, a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let turned = |name, dims: &[usize]| match (dims, int(node, name).unwrap_or(0)) {
        (&[rows, columns], 0) => Some([rows, columns]),
        (&[rows, columns], _) => Some([columns, rows]),
        _ => None,
    };
    product(&turned("transA", a)?, &turned("transB", b)?)
}

fn sides(node: &NodeProto, name: &str, default: [usize; 2]) -> Option<[usize; 2]> {
    let Some(found) = attribute(node, name) else {
        return Some(default);
    };
    let sides = found.ints.iter().map(|&side| usize::try_from(side).ok());
    <[usize; 2]>::try_from(sides.collect::<Option<Vec<_>>>()?).ok()
}

/// Pixels added before and after, by dimension.
fn padding(node: &NodeProto) -> Option<[usize; 2]> {
    let automatic = attribute(node, "auto_pad").and_then(|value| value.s.as_deref());
    if !matches!(automatic, None | Some(b"" | b"NOTSET" | b"VALID")) {
        return None;
    }
    let Some(pads) = attribute(node, "pads") else {
        return Some([0, 0]);
    };
    let pads = pads
        .ints
        .iter()
        .map(|&pad| usize::try_from(pad).ok())
        .collect::<Option<Vec<_>>>()?;
    match pads.as_slice() {
        &[top, left, bottom, right] => Some([top.checked_add(bottom)?, left.checked_add(right)?]),
        _ => None,
    }
}

fn convolution(node: &NodeProto, image: &[usize], weight: &[usize]) -> Option<Vec<usize>> {
    let (&[batch, _, height, width], &[outputs, _, down, across]) = (image, weight) else {
        return None;
    };
    let (strides, dilations, pads) = (
        sides(node, "strides", [1, 1])?,
        sides(node, "dilations", [1, 1])?,
        padding(node)?,
    );
    let side = |size: usize, kernel: usize, stride: usize, dilation: usize, pad: usize| {
        let reach = kernel
            .checked_sub(1)?
            .checked_mul(dilation)?
            .checked_add(1)?;
        size.checked_add(pad)?
            .checked_sub(reach)?
            .checked_div(stride)?
            .checked_add(1)
    };
    let ([down_by, across_by], [down_apart, across_apart], [above, beside]) =
        (strides, dilations, pads);
    let down = side(height, down, down_by, down_apart, above)?;
    let across = side(width, across, across_by, across_apart, beside)?;
    Some(vec![batch, outputs, down, across])
}

fn transposed_convolution(
    node: &NodeProto,
    image: &[usize],
    weight: &[usize],
) -> Option<Vec<usize>> {
    let (&[batch, _, height, width], &[_, outputs, down, across]) = (image, weight) else {
        return None;
    };
    let (strides, dilations, pads) = (
        sides(node, "strides", [1, 1])?,
        sides(node, "dilations", [1, 1])?,
        padding(node)?,
    );
    let more = sides(node, "output_padding", [0, 0])?;
    let side = |size: usize, [kernel, stride, dilation, pad, more]: [usize; 5]| {
        let reach = kernel
            .checked_sub(1)?
            .checked_mul(dilation)?
            .checked_add(1)?;
        let all = size
            .checked_sub(1)?
            .checked_mul(stride)?
            .checked_add(reach)?;
        all.checked_add(more)?.checked_sub(pad)
    };
    let ([s0, s1], [d0, d1], [p0, p1], [m0, m1]) = (strides, dilations, pads, more);
    let down = side(height, [down, s0, d0, p0, m0])?;
    let across = side(width, [across, s1, d1, p1, m1])?;
    Some(vec![batch, outputs, down, across])
}

fn reduced(node: &NodeProto, dims: &[usize], axes: &[i64]) -> Option<Vec<usize>> {
    let axes = resolved(axes, dims.len()).filter(|axes| !axes.is_empty())?;
    let keep = int(node, "keepdims") != Some(0);
    let sides = dims.iter().enumerate();
    let sides = sides.filter(|(axis, _)| keep || !axes.contains(axis));
    Some(
        sides
            .map(|(axis, &dim)| if axes.contains(&axis) { 1 } else { dim })
            .collect(),
    )
}

fn joined(node: &NodeProto, all: &[Vec<usize>]) -> Option<Vec<usize>> {
    let first = all.first()?;
    let axis = *resolved(&[int(node, "axis")?], first.len())?.first()?;
    let mut dims = first.clone();
    let sizes = all.iter().map(|dims| dims.get(axis).copied());
    *dims.get_mut(axis)? = sizes.sum::<Option<usize>>()?;
    let fits = |own: &Vec<usize>| {
        own.len() == dims.len()
            && own
                .iter()
                .zip(&dims)
                .enumerate()
                .all(|(i, (a, b))| i == axis || a == b)
    };
    all.iter().all(fits).then_some(dims)
}

/// Of `[batch, heads, tokens, width]`, or `[batch, tokens, heads * width]` with the heads as attributes.
fn attended(node: &NodeProto, query: &[usize], value: &[usize]) -> Option<Vec<usize>> {
    match (query, value) {
        (&[batch, heads, rows, _], &[_, _, _, width]) => Some(vec![batch, heads, rows, width]),
        (&[batch, rows, _], &[_, _, wide]) => {
            let heads = |name| int(node, name).and_then(|heads| usize::try_from(heads).ok());
            let width = wide.checked_div(heads("kv_num_heads")?)?;
            Some(vec![batch, rows, width.checked_mul(heads("q_num_heads")?)?])
        }
        _ => None,
    }
}
