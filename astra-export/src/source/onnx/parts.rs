//! The parts that encoder and heads are made of, by what their nodes compute.

use super::graph::layout::Layout;
use super::graph::{Graph, Numbers, Step, Value, operator_of};
use super::{Mismatch, attribute};
use crate::family::weights::{Linear, Norm};

/// Largest relative error of a factor: of two that were each rounded to 8 bits, as bfloat16 is.
const TOLERANCE: f32 = 5e-3;

/// A product with constant weights and perhaps a sum with constants.
pub(super) struct Projection {
    /// `[inputs, outputs]`
    weight: Value,
    bias: Option<Value>,
    /// What is multiplied: `[.., inputs]`.
    pub(super) input: Value,
    /// `[.., outputs]`
    pub(super) dims: Vec<usize>,
    pub(super) outputs: usize,
}

impl Projection {
    /// The weights of `count` outputs from number `first` on.
    pub(super) fn read(
        &self,
        graph: &Graph<'_>,
        first: usize,
        count: usize,
    ) -> Result<Linear, Mismatch> {
        let cut = |value: &Value, axis| {
            let layout = value.layout.sliced(axis, first, count, 1);
            let layout = layout
                .ok_or_else(|| graph.refuse(value, format!("{count} outputs from {first} on")));
            layout.map(|layout| value.with_layout(layout))
        };
        let weight = graph.weights(&cut(&self.weight, 1)?)?;
        let [inputs, _] = weight.sides("[inputs, outputs]")?;
        let bias = match &self.bias {
            Some(bias) => graph.weights(&cut(bias, 0)?)?.into_values(&[count])?,
            None => vec![0.0; count],
        };
        Ok(Linear {
            inputs,
            outputs: count,
            weight: weight.into_values(&[inputs, count])?,
            bias,
            blocks: None,
        })
    }

    /// The projection of those outputs alone that `layout`, a view of all of them, has.
    fn some_outputs(self, layout: &Layout) -> Option<Self> {
        let mut dims = self.dims;
        let last = dims.last_mut()?;
        let (stride, outputs, first) = (*last, *layout.dims().last()?, layout.offset());
        *last = outputs;
        let rows = dims.iter().product::<usize>().checked_div(outputs)?;
        let some = Layout::strided(first, &[(rows, stride), (outputs, 1)]);
        let weight = self.weight.layout.sliced(1, first, outputs, 1)?;
        layout.same_elements(&some).then_some(Self {
            weight: self.weight.with_layout(weight),
            dims,
            outputs,
            ..self
        })
    }

    pub(super) fn read_all(&self, graph: &Graph<'_>) -> Result<Linear, Mismatch> {
        self.read(graph, 0, self.outputs)
    }
}

impl<'a> Graph<'a> {
    /// The projection that computes all of `value`.
    pub(super) fn projection(&self, value: &Value) -> Result<Projection, Mismatch> {
        self.try_projection(value)
            .ok_or_else(|| self.refuse(value, "MatMul or Gemm with constant weights"))
    }

    pub(super) fn try_projection(&self, value: &Value) -> Option<Projection> {
        let step = self.whole_step(value)?;
        match step.node.op_type.as_str() {
            "MatMul" | "Gemm" => self.product(step, self.dims_of_base(value)),
            "Add" => {
                let (bias, sum) = self.constant_and_other(step)?;
                let product = self.step_of(sum, "MatMul")?;
                let product = self
                    .product(product, self.dims_of_base(sum))?
                    .some_outputs(&sum.layout)?;
                let bias = flat(bias, product.outputs)?;
                product.bias.is_none().then_some(Projection {
                    bias: Some(bias),
                    ..product
                })
            }
            _ => None,
        }
    }

    fn product(&self, step: &Step<'a>, dims: &[usize]) -> Option<Projection> {
        let [Some(input), Some(weight), rest @ ..] = step.inputs.as_slice() else {
            return None;
        };
        let gemm = step.node.op_type == "Gemm";
        let int = |name| {
            attribute(step.node, name)
                .and_then(|value| value.i)
                .unwrap_or(0)
        };
        let float = |name| {
            attribute(step.node, name)
                .and_then(|value| value.f)
                .unwrap_or(1.0)
        };
        let plain = !gemm || int("transA") == 0 && float("alpha") == 1.0 && float("beta") == 1.0;
        if !plain
            || self.is_constant(input)
            || !self.is_constant(weight)
            || weight.layout.rank() != 2
        {
            return None;
        }
        let perm: &[usize] = if gemm && int("transB") != 0 {
            &[1, 0]
        } else {
            &[0, 1]
        };
        let layout = weight.layout.transposed(perm)?;
        let outputs = *layout.dims().last()?;
        let bias = match rest.first().and_then(Option::as_ref) {
            Some(bias) => Some(flat(bias, outputs).filter(|bias| self.is_constant(bias))?),
            None => None,
        };
        Some(Projection {
            weight: weight.with_layout(layout),
            bias,
            input: input.clone(),
            dims: dims.to_vec(),
            outputs,
        })
    }

    /// The inputs of a sum or product, of which one is constant.
    pub(super) fn constant_and_other<'s>(
        &self,
        step: &'s Step<'a>,
    ) -> Option<(&'s Value, &'s Value)> {
        let [Some(first), Some(second)] = step.inputs.as_slice() else {
            return None;
        };
        match (self.is_constant(first), self.is_constant(second)) {
            (true, false) => Some((first, second)),
            (false, true) => Some((second, first)),
            _ => None,
        }
    }

    /// What remains of `value` without the constant factors it is multiplied by, and their product.
    pub(super) fn unscaled(&self, value: &Value) -> (f32, Value) {
        let (mut factor, mut value) = (1.0, value.clone());
        while let Some((by, inner)) = self.scaled_by(&value) {
            factor *= by;
            value = inner;
        }
        (factor, value)
    }

    fn scaled_by(&self, value: &Value) -> Option<(f32, Value)> {
        let step = self.step(value)?;
        let (constant, other) = self.constant_and_other(step)?;
        let number = self.scalar(constant)?;
        let by = match step.node.op_type.as_str() {
            "Mul" => number,
            "Div" if step.inputs.first()?.as_ref() == Some(other) => number.recip(),
            _ => return None,
        };
        // The evaluation puts views after such products, so what is multiplied is whole.
        let layout = value.layout.clone();
        Some((by, other.with_layout(layout)))
    }

    /// The layer normalization that computes all of `value`, and what it normalizes.
    pub(super) fn norm(&self, value: &Value) -> Result<(Norm, Value), Mismatch> {
        let parts = self.norm_parts(value);
        let parts =
            parts.ok_or_else(|| self.refuse(value, "layer normalization of all channels"))?;
        let read = |value: &Value| {
            let channels = value.layout.count();
            self.weights(value)?.into_values(&[channels])
        };
        let norm = Norm {
            weight: read(&parts.weight)?,
            bias: read(&parts.bias)?,
            epsilon: parts.epsilon,
        };
        Ok((norm, parts.input))
    }

    pub(super) fn is_norm(&self, value: &Value) -> bool {
        self.norm_parts(value).is_some()
    }

    fn norm_parts(&self, value: &Value) -> Option<NormParts> {
        let step = self.whole_step(value)?;
        let channels = *self.dims_of_base(value).last()?;
        if step.node.op_type == "LayerNormalization" {
            let input = step.input(0).ok()?;
            let constant = |number| {
                flat(step.input(number).ok()?, channels).filter(|value| self.is_constant(value))
            };
            // 1e-5 is ONNX's default.
            let epsilon = attribute(step.node, "epsilon")
                .and_then(|value| value.f)
                .unwrap_or(1e-5);
            return self.is_last_axis(step.node, input).then_some(NormParts {
                weight: constant(1)?,
                bias: constant(2)?,
                epsilon,
                input: input.clone(),
            });
        }
        let (bias, scaled) = self.constant_and_other(self.whole_step_of(value, "Add")?)?;
        let (weight, unit) = self.constant_and_other(self.whole_step_of(scaled, "Mul")?)?;
        let (epsilon, input) = self.normalized(unit)?;
        Some(NormParts {
            weight: flat(weight, channels)?,
            bias: flat(bias, channels)?,
            epsilon,
            input,
        })
    }

    /// `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon)`: epsilon and x.
    fn normalized(&self, value: &Value) -> Option<(f32, Value)> {
        let step = self.whole_step(value)?;
        let (centred, root) = match (
            step.node.op_type.as_str(),
            step.input(0).ok()?,
            step.input(1).ok()?,
        ) {
            ("Div", centred, root) => (centred, root),
            ("Mul", centred, inverse) => (
                centred,
                self.whole_step_of(inverse, "Reciprocal")?.input(0).ok()?,
            ),
            _ => return None,
        };
        let sum = self.whole_step_of(root, "Sqrt")?.input(0).ok()?;
        let (epsilon, variance) = self.constant_and_other(self.whole_step_of(sum, "Add")?)?;
        let square = self.channel_mean(variance)?;
        let step = self.whole_step(square)?;
        let (base, power) = (step.input(0).ok()?, step.input(1).ok()?);
        let squared = match step.node.op_type.as_str() {
            "Pow" => self.number(power) == Some(2.0),
            "Mul" => self.same(base, power),
            _ => false,
        };
        let difference = self.whole_step_of(centred, "Sub")?;
        let input = difference.input(0).ok()?;
        let mean = self.channel_mean(difference.input(1).ok()?)?;
        let fits = squared && self.same(base, centred) && self.same(mean, input);
        fits.then(|| Some((self.scalar(epsilon)?, input.clone())))?
    }

    /// A constant that is one number of any type.
    fn number(&self, value: &Value) -> Option<f32> {
        match self.numbers(value).ok()?? {
            Numbers::Floats(values) => <[f32; 1]>::try_from(values).ok().map(|[value]| value),
            Numbers::Ints(values) => <[i64; 1]>::try_from(values)
                .ok()
                .map(|[value]| value as f32),
        }
    }

    /// What `value` is the mean of, over its last dimension, which is kept.
    fn channel_mean<'s>(&'s self, value: &Value) -> Option<&'s Value> {
        let step = self.whole_step_of(value, "ReduceMean")?;
        let input = step.input(0).ok()?;
        let last = input.layout.rank().checked_sub(1)?;
        let kept = value.layout.rank() == input.layout.rank();
        (kept && self.reduced_axes(step.node, &step.inputs)? == [last]).then_some(input)
    }

    /// What GELU is applied to, computed with the error function: `x / 2 * (1 + erf(x / sqrt(2)))`.
    pub(super) fn gelu(&self, value: &Value) -> Result<Value, Mismatch> {
        if let Some(step) = self.whole_step_of(value, "Gelu") {
            let kind = attribute(step.node, "approximate").and_then(|kind| kind.s.as_deref());
            return match kind {
                None | Some(b"" | b"none") => step.input(0).cloned(),
                Some(kind) => {
                    let found =
                        format!("GELU by approximation {:?}", String::from_utf8_lossy(kind));
                    Err(Mismatch::new(
                        self.name_of(value),
                        found,
                        "GELU by the error function",
                    ))
                }
            };
        }
        self.gelu_in_parts(value).ok_or_else(|| self.no_gelu(value))
    }

    fn gelu_in_parts(&self, value: &Value) -> Option<Value> {
        let (mut factor, mut factors) = (1.0, Vec::new());
        let mut open = vec![value.clone()];
        while let Some(next) = open.pop() {
            let (by, rest) = self.unscaled(&next);
            factor *= by;
            match self.whole_step_of(&rest, "Mul") {
                Some(step) if factors.len() + open.len() < 2 => {
                    open.extend([step.input(0).ok()?.clone(), step.input(1).ok()?.clone()]);
                }
                _ => factors.push(rest),
            }
        }
        let [a, b] = <[Value; 2]>::try_from(factors).ok()?;
        let erf = |value: &Value| {
            let (one, erf) = self.constant_and_other(self.whole_step_of(value, "Add")?)?;
            let inner = self.whole_step_of(erf, "Erf")?.input(0).ok()?;
            (self.scalar(one) == Some(1.0)).then(|| self.unscaled(inner))
        };
        let (x, (inside, of)) = match (erf(&a), erf(&b)) {
            (None, Some(erf)) => (a, erf),
            (Some(erf), None) => (b, erf),
            _ => return None,
        };
        let right = near(factor, 0.5)
            && near(inside, std::f32::consts::FRAC_1_SQRT_2)
            && self.same(&of, &x);
        right.then_some(x)
    }

    /// What stands in the place of GELU, by the functions it is known for.
    fn no_gelu(&self, value: &Value) -> Mismatch {
        const EXPECTED: &str = "GELU by the error function (SwiGLU, SiLU, ReLU and approximations of GELU are not supported)";
        let (mut open, mut steps) = (vec![value.clone()], 0);
        while let (Some(next), 0..12) = (open.pop(), steps) {
            let (step, _) = (self.step(&next), steps += 1);
            let Some(step) = step.filter(|step| step.node.op_type != "LayerNormalization") else {
                continue;
            };
            if matches!(
                step.node.op_type.as_str(),
                "Tanh" | "Sigmoid" | "Relu" | "Softplus"
            ) {
                let found = format!("{} as activation", operator_of(step.node));
                return Mismatch::new(&step.node.name, found, EXPECTED);
            }
            if self.try_projection(&next).is_none() {
                open.extend(step.inputs.iter().flatten().cloned());
            }
        }
        self.refuse(value, EXPECTED)
    }
}

struct NormParts {
    weight: Value,
    bias: Value,
    epsilon: f32,
    input: Value,
}

/// A constant of `count` numbers along the last dimension, as a list of them.
pub(super) fn flat(value: &Value, count: usize) -> Option<Value> {
    let layout = value.layout.reshaped(&[count])?;
    (value.layout.dims().last() == Some(&count) || count == 1).then(|| value.with_layout(layout))
}

/// Whether a number of the file is the one that is expected.
pub(super) fn near(found: f32, expected: f32) -> bool {
    (found - expected).abs() <= TOLERANCE * expected.abs()
}
