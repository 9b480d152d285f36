//! Nodes that select, repeat or rename elements.

use super::evaluate::Inputs;
use super::{Graph, Value};
use crate::graph::proto::NodeProto;
use crate::source::onnx::attribute;

impl<'a> Graph<'a> {
    /// What `node` makes, if it computes nothing.
    pub(super) fn view(&self, node: &NodeProto, inputs: &Inputs) -> Option<Vec<Value>> {
        let value = inputs.first()?.as_ref()?;
        let argument = |number: usize| inputs.get(number).and_then(Option::as_ref);
        let one = |value: Option<Value>| value.map(|value| vec![value]);
        match node.op_type.as_str() {
            // Dropout does nothing at inference.
            "Identity" | "Dropout" => Some(vec![value.clone()]),
            "Reshape" => one(self.reshape(node, value, argument(1)?)),
            "Flatten" => one(flatten(node, value)),
            "Transpose" => one(transpose(node, value)),
            "Squeeze" => one(self.squeeze(node, value, argument(1))),
            "Unsqueeze" => one(self.unsqueeze(node, value, argument(1))),
            "Expand" => one(self.expand(value, argument(1)?)),
            "Slice" => one(self.slice(node, value, inputs)),
            "Gather" => one(self.gather(node, value, argument(1)?)),
            "Split" => self.split(node, value, argument(1)),
            _ => None,
        }
    }

    fn reshape(&self, node: &NodeProto, value: &Value, dims: &Value) -> Option<Value> {
        let keep = attribute(node, "allowzero").and_then(|flag| flag.i) != Some(1);
        let own = value.layout.dims();
        let requested = self.ints(dims)?;
        let mut dims = Vec::with_capacity(requested.len());
        for (axis, &dim) in requested.iter().enumerate() {
            dims.push(match dim {
                0 if keep => *own.get(axis)?,
                -1 => 1,
                dim => usize::try_from(dim).ok()?,
            });
        }
        if let Some(axis) = requested.iter().position(|&dim| dim == -1) {
            let count = super::element_count(&dims)?;
            *dims.get_mut(axis)? = value.layout.count().checked_div(count)?;
        }
        with(value, value.layout.reshaped(&dims)?)
    }

    fn squeeze(&self, node: &NodeProto, value: &Value, axes: Option<&Value>) -> Option<Value> {
        let rank = value.layout.rank();
        let mut axes = match self.axes(node, axes)? {
            axes if axes.is_empty() => {
                let dims = value.layout.dims();
                (0..rank)
                    .filter(|&axis| dims.get(axis) == Some(&1))
                    .collect()
            }
            axes => resolved(&axes, rank)?,
        };
        axes.sort_unstable();
        let layout = axes
            .iter()
            .rev()
            .try_fold(value.layout.clone(), |layout, &axis| layout.squeezed(axis));
        with(value, layout?)
    }

    fn unsqueeze(&self, node: &NodeProto, value: &Value, axes: Option<&Value>) -> Option<Value> {
        let axes = self.axes(node, axes)?;
        let mut axes = resolved(&axes, value.layout.rank() + axes.len())?;
        axes.sort_unstable();
        let layout = axes.iter().try_fold(value.layout.clone(), |layout, &axis| {
            layout.unsqueezed(axis)
        });
        with(value, layout?)
    }

    /// Axes as an input (opset 13 and later) or an attribute; empty if there are none.
    pub(super) fn axes(&self, node: &NodeProto, input: Option<&Value>) -> Option<Vec<i64>> {
        match input {
            Some(axes) => self.ints(axes),
            None => Some(attribute(node, "axes").map_or_else(Vec::new, |axes| axes.ints.clone())),
        }
    }

    fn expand(&self, value: &Value, dims: &Value) -> Option<Value> {
        let requested = self.ints(dims)?;
        let own = value.layout.dims();
        let rank = requested.len().max(own.len());
        // Both may be 1 where the other is not.
        let mut dims = vec![1usize; rank];
        for (dim, &own) in dims.iter_mut().rev().zip(own.iter().rev()) {
            *dim = own;
        }
        for (dim, &requested) in dims.iter_mut().rev().zip(requested.iter().rev()) {
            let requested = usize::try_from(requested).ok()?;
            if requested != 1 {
                *dim = requested;
            }
        }
        with(value, value.layout.expanded(&dims)?)
    }

    fn slice(&self, node: &NodeProto, value: &Value, inputs: &Inputs) -> Option<Value> {
        // Attributes before opset 10.
        let list = |number: usize, name: &str| match inputs.get(number).and_then(Option::as_ref) {
            Some(input) => self.ints(input),
            None => attribute(node, name).map(|list| list.ints.clone()),
        };
        let (starts, ends) = (list(1, "starts")?, list(2, "ends")?);
        let rank = value.layout.rank();
        let axes = match list(3, "axes") {
            Some(axes) => resolved(&axes, rank)?,
            None => (0..starts.len()).collect(),
        };
        let steps = list(4, "steps").unwrap_or_else(|| vec![1; starts.len()]);
        let mut layout = value.layout.clone();
        for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let size = *layout.dims().get(axis)?;
            let (start, end) = (bound(start, size)?, bound(end, size)?);
            let step = usize::try_from(step).ok().filter(|&step| step > 0)?;
            let count = end.checked_sub(start)?.div_ceil(step);
            layout = layout.sliced(axis, start, count, step)?;
        }
        with(value, layout)
    }

    /// Indices that are one number, or numbers one after the other.
    fn gather(&self, node: &NodeProto, value: &Value, indices: &Value) -> Option<Value> {
        let axis = int(node, "axis").unwrap_or(0);
        let axis = *resolved(&[axis], value.layout.rank())?.first()?;
        let size = *value.layout.dims().get(axis)?;
        let places = resolved(&self.ints(indices)?, size)?;
        let (&first, rest) = places.split_first()?;
        let follows = rest
            .iter()
            .enumerate()
            .all(|(i, &place)| place == first + i + 1);
        let layout = value
            .layout
            .sliced(axis, first, places.len(), 1)
            .filter(|_| follows)?;
        let own = value.layout.dims();
        let (outer, inner) = (own.get(..axis)?, own.get(axis + 1..)?);
        let dims = [outer, &indices.layout.dims(), inner].concat();
        with(value, layout.reshaped(&dims)?)
    }

    fn split(&self, node: &NodeProto, value: &Value, sizes: Option<&Value>) -> Option<Vec<Value>> {
        let axis = int(node, "axis").unwrap_or(0);
        let axis = *resolved(&[axis], value.layout.rank())?.first()?;
        let size = *value.layout.dims().get(axis)?;
        let sizes = match (sizes, attribute(node, "split")) {
            (Some(sizes), _) => self.ints(sizes)?,
            (None, Some(sizes)) => sizes.ints.clone(),
            (None, None) => {
                let part = size.div_ceil(node.output.len().max(1));
                let parts = (0..node.output.len())
                    .map(|number| part.min(size.saturating_sub(number * part)));
                parts
                    .map(|part| i64::try_from(part).ok())
                    .collect::<Option<_>>()?
            }
        };
        let mut first = 0usize;
        let mut parts = Vec::with_capacity(sizes.len());
        for size in sizes {
            let count = usize::try_from(size).ok()?;
            parts.push(with(value, value.layout.sliced(axis, first, count, 1)?)?);
            first = first.checked_add(count)?;
        }
        (first == size).then_some(parts)
    }
}

fn with(value: &Value, layout: super::Layout) -> Option<Value> {
    Some(Value {
        base: value.base,
        layout,
    })
}

fn flatten(node: &NodeProto, value: &Value) -> Option<Value> {
    let dims = value.layout.dims();
    let axis = usize::try_from(int(node, "axis").unwrap_or(1)).ok()?;
    let (rows, columns) = dims.split_at_checked(axis)?;
    let dims = [rows.iter().product(), columns.iter().product()];
    with(value, value.layout.reshaped(&dims)?)
}

fn transpose(node: &NodeProto, value: &Value) -> Option<Value> {
    let rank = value.layout.rank();
    let perm = match attribute(node, "perm") {
        Some(perm) => resolved(&perm.ints, rank)?,
        None => (0..rank).rev().collect(),
    };
    with(value, value.layout.transposed(&perm)?)
}

/// An integer attribute.
pub(super) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).and_then(|value| value.i)
}

/// Axes or indices of which negative ones count from the end.
pub(super) fn resolved(axes: &[i64], size: usize) -> Option<Vec<usize>> {
    let axes = axes.iter().map(|&axis| {
        let axis = if axis < 0 {
            axis.checked_add(i64::try_from(size).ok()?)?
        } else {
            axis
        };
        usize::try_from(axis).ok().filter(|&axis| axis < size)
    });
    axes.collect()
}

/// A bound of a slice, which may lie outside.
fn bound(place: i64, size: usize) -> Option<usize> {
    let size = i64::try_from(size).ok()?;
    let place = if place < 0 {
        place.saturating_add(size)
    } else {
        place
    };
    usize::try_from(place.clamp(0, size)).ok()
}
