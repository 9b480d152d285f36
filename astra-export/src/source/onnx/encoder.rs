//! The encoder inside an ONNX export of DINOv2, found by the names of its nodes.

use super::embeddings::{read_projection, read_tokens};
use super::index::{Index, attribute, input, output};
use super::{Mismatch, Tensor};
use crate::family::vit::{BlockWeights, Head, VitModel};
use crate::family::weights::{Linear, Norm};
use crate::graph::proto::NodeProto;

/// The node every encoder has, less the scope it stands in.
const FIRST_QUERY: &str = "encoder/layer.0/attention/attention/query/MatMul";
/// Between queries or keys and the softmax there are not more nodes than this.
const MAX_STEPS: usize = 8;

/// The encoder, and where its features come out.
pub(super) struct Encoder<'a> {
    model: VitModel,
    /// Name of the value after the final norm: `[1, 1 + T, D]`.
    pub(super) features: &'a str,
}

impl Encoder<'_> {
    pub(super) fn hidden(&self) -> usize {
        self.model.hidden
    }

    pub(super) fn into_model(self, head: Head) -> VitModel {
        VitModel { head, ..self.model }
    }
}

pub(super) fn read<'a>(index: &Index<'a>) -> Result<Encoder<'a>, Mismatch> {
    let scope = find_scope(index)?;
    let (projection, patch) = read_projection(index, scope)?;
    let hidden = projection.outputs;
    let mut blocks = Vec::new();
    let mut heads = None;
    while index.has_layer(scope, blocks.len()) {
        let layer = Layer {
            index,
            scope: format!("{scope}encoder/layer.{}/", blocks.len()),
            hidden,
        };
        let found = layer.heads()?;
        if *heads.get_or_insert(found) != found {
            let expected = format!("{heads:?} as in the layers before");
            return Err(Mismatch::new(
                layer.scope,
                format!("{found} heads"),
                expected,
            ));
        }
        layer.check_scale(hidden / found)?;
        layer.check_activation()?;
        blocks.push(layer.read()?);
    }
    let Some(heads) = heads else {
        let expected = "MatMul";
        return Err(Mismatch::new(
            format!("{scope}{FIRST_QUERY}"),
            "another operator",
            expected,
        ));
    };
    let (class_token, positions) = read_tokens(index, scope, hidden)?;
    let norm_scope = format!("{scope}layernorm/");
    let (norm, features) = read_norm(index, &norm_scope, hidden)?;
    let model = VitModel {
        hidden,
        heads,
        patch,
        projection,
        class_token,
        positions,
        blocks,
        norm,
        head: Head::Features,
    };
    Ok(Encoder { model, features })
}

/// What stands before `encoder/` in the names of nodes: `/`, `/backbone/`.
fn find_scope<'a>(index: &Index<'a>) -> Result<&'a str, Mismatch> {
    let mut scopes = index
        .nodes()
        .iter()
        .filter_map(|node| node.name.strip_suffix(FIRST_QUERY))
        .filter(|scope| scope.is_empty() || scope.ends_with('/'));
    match (scopes.next(), scopes.next()) {
        (Some(scope), None) => Ok(scope),
        (None, _) => Err(Mismatch::missing(
            format!("*/{FIRST_QUERY}"),
            "a node of that name, as exports of DINOv2 have",
        )),
        (Some(first), Some(second)) => Err(Mismatch::new(
            format!("*/{FIRST_QUERY}"),
            format!("encoders {first} and {second}"),
            "one",
        )),
    }
}

impl Index<'_> {
    fn has_layer(&self, scope: &str, number: usize) -> bool {
        let query = format!("{scope}encoder/layer.{number}/attention/attention/query/MatMul");
        self.has_node(&query, "MatMul")
    }
}

/// One layer.
struct Layer<'i, 'a> {
    index: &'i Index<'a>,
    scope: String,
    hidden: usize,
}

impl Layer<'_, '_> {
    fn read(&self) -> Result<BlockWeights, Mismatch> {
        let hidden = self.hidden;
        let mut output = self.linear("attention/output/dense", Some(hidden))?;
        self.scale_outputs(&mut output, "layer_scale1")?;
        let up = self.linear("mlp/fc1", None)?;
        let mut down = self.linear("mlp/fc2", Some(hidden))?;
        if down.inputs != up.outputs {
            let found = format!("{} inputs", down.inputs);
            let expected = format!("the {} outputs of fc1", up.outputs);
            return Err(Mismatch::new(self.name("mlp/fc2"), found, expected));
        }
        self.scale_outputs(&mut down, "layer_scale2")?;
        Ok(BlockWeights {
            norm1: read_norm(self.index, &self.name("norm1/"), hidden)?.0,
            query: self.linear("attention/attention/query", Some(hidden))?,
            key: self.linear("attention/attention/key", Some(hidden))?,
            value: self.linear("attention/attention/value", Some(hidden))?,
            output,
            norm2: read_norm(self.index, &self.name("norm2/"), hidden)?.0,
            up,
            down,
        })
    }

    fn name(&self, part: &str) -> String {
        format!("{}{part}", self.scope)
    }

    /// A product with a constant and a sum with another. `outputs` is `None` where any number will do; inputs are D unless
    /// that is what the outputs are.
    fn linear(&self, part: &str, outputs: Option<usize>) -> Result<Linear, Mismatch> {
        let product = self
            .index
            .node(&self.name(&format!("{part}/MatMul")), "MatMul")?;
        let sum = self.index.node(&self.name(&format!("{part}/Add")), "Add")?;
        let weight = self.index.floats(input(product, 1)?)?;
        let [rows, columns] = weight.sides("[inputs, outputs]")?;
        let inputs = if part == "mlp/fc2" { rows } else { self.hidden };
        let outputs = outputs.unwrap_or(columns);
        let (bias, summand) = constant_and_other(self.index, sum)?;
        if summand != output(product)? {
            let found = format!("{summand} as summand");
            return Err(Mismatch::new(&sum.name, found, output(product)?));
        }
        Ok(Linear {
            inputs,
            outputs,
            weight: weight.into_values(&[inputs, outputs])?,
            bias: bias.into_values(&[outputs])?,
        })
    }

    /// DINOv2 always has layer scale; where it is missing, something else would be missed too.
    fn scale_outputs(&self, linear: &mut Linear, part: &str) -> Result<(), Mismatch> {
        let node = self.index.node(&self.name(&format!("{part}/Mul")), "Mul")?;
        let (scale, _) = constant_and_other(self.index, node)?;
        linear.scale_outputs(&scale.into_values(&[linear.outputs])?);
        Ok(())
    }

    /// Heads, of which queries, keys and values must have the same number.
    fn heads(&self) -> Result<usize, Mismatch> {
        let [query, key, value] = ["query", "key", "value"].map(|part| self.heads_of(part));
        let query = query?;
        for (part, found) in [("key", key?), ("value", value?)] {
            if found != query {
                let name = self.name(&format!("attention/attention/{part}"));
                return Err(Mismatch::new(name, format!("{found} heads"), query));
            }
        }
        Ok(query)
    }

    /// From the constants that a projection is reshaped with: `[.., heads, head_dim]`.
    fn heads_of(&self, part: &str) -> Result<usize, Mismatch> {
        let name = self.name(&format!("attention/attention/{part}/Add"));
        let query = output(self.index.node(&name, "Add")?)?;
        let reshape = self.index.nodes().iter().find(|node| {
            node.op_type == "Reshape" && node.input.first().is_some_and(|name| name == query)
        });
        let Some(reshape) = reshape else {
            return Err(Mismatch::missing(query, "a Reshape of it into heads"));
        };
        let dims = self.trailing_dims(input(reshape, 1)?)?;
        if let [.., heads, head_dim] = dims.as_slice()
            && let (Ok(heads), Ok(head_dim)) = (usize::try_from(*heads), usize::try_from(*head_dim))
            && heads > 0
            && heads.checked_mul(head_dim) == Some(self.hidden)
        {
            return Ok(heads);
        }
        let expected = format!("heads times their width to be {}", self.hidden);
        Err(Mismatch::new(
            &reshape.name,
            format!("dimensions {dims:?}"),
            expected,
        ))
    }

    /// The last two of the dimensions a Reshape asks for, which may be a constant or put together from constants.
    fn trailing_dims(&self, name: &str) -> Result<Vec<i64>, Mismatch> {
        if self.index.is_constant(name) {
            return self.index.integers(name);
        }
        let concat = self.index.producer_of(name, "Concat")?;
        let mut dims = Vec::new();
        for part in concat.input.iter().rev().take(2).rev() {
            dims.extend(self.index.integers(part)?);
        }
        Ok(dims)
    }

    /// The factor before the softmax must be the one attention is defined with.
    fn check_scale(&self, head_dim: usize) -> Result<(), Mismatch> {
        let softmax = self
            .index
            .node(&self.name("attention/attention/Softmax"), "Softmax")?;
        let found = factor(self.index, input(softmax, 0)?, MAX_STEPS)?;
        let expected = (head_dim as f32).sqrt().recip();
        if (found - expected).abs() <= 1e-4 * expected {
            return Ok(());
        }
        let expected = format!("{expected}, for heads {head_dim} wide");
        Err(Mismatch::new(
            &softmax.name,
            format!("scores times {found}"),
            expected,
        ))
    }

    fn check_activation(&self) -> Result<(), Mismatch> {
        let exact = self.name("mlp/activation/Erf");
        if self
            .index
            .has_node(&self.name("mlp/activation/Gelu"), "Gelu")
        {
            return Ok(());
        }
        self.index.node(&exact, "Erf").map(|_| ())
    }
}

/// What a value is multiplied by on the way from the reshaped queries and keys.
fn factor(index: &Index<'_>, value: &str, depth: usize) -> Result<f32, Mismatch> {
    let node = index.producer(value)?;
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Mismatch::new(
            &node.name,
            "a long way",
            "queries times keys",
        ));
    };
    let side = |number| input(node, number).and_then(|name| factor(index, name, depth));
    match node.op_type.as_str() {
        "Transpose" | "Reshape" => Ok(1.0),
        "MatMul" => Ok(side(0)? * side(1)?),
        "Mul" => {
            let (constant, other) = if index.is_constant(input(node, 0)?) {
                (0, 1)
            } else {
                (1, 0)
            };
            Ok(index.scalar(input(node, constant)?)? * side(other)?)
        }
        "Div" => Ok(side(0)? / index.scalar(input(node, 1)?)?),
        other => Err(Mismatch::new(
            &node.name,
            other,
            "queries times keys, scaled",
        )),
    }
}

/// The constant operand of a commutative node, and the name of the other operand, which a node makes.
fn constant_and_other<'a>(
    index: &Index<'a>,
    node: &'a NodeProto,
) -> Result<(Tensor, &'a str), Mismatch> {
    let (first, second) = (input(node, 0)?, input(node, 1)?);
    if index.producer(first).is_err() || index.is_constant(first) {
        Ok((index.floats(first)?, second))
    } else {
        Ok((index.floats(second)?, first))
    }
}

/// Layer normalization, as one node or spelled out, and the name of its result.
fn read_norm<'a>(
    index: &Index<'a>,
    scope: &str,
    hidden: usize,
) -> Result<(Norm, &'a str), Mismatch> {
    let name = format!("{scope}LayerNormalization");
    if index.has_node(&name, "LayerNormalization") {
        let node = index.node(&name, "LayerNormalization")?;
        let norm = Norm {
            weight: index.floats(input(node, 1)?)?.into_values(&[hidden])?,
            bias: index.floats(input(node, 2)?)?.into_values(&[hidden])?,
            // ONNX's default.
            epsilon: attribute(node, "epsilon")
                .and_then(|value| value.f)
                .unwrap_or(1e-5),
        };
        return Ok((norm, output(node)?));
    }
    let (weight, _) = constant_and_other(index, index.node(&format!("{scope}Mul"), "Mul")?)?;
    let shift = index.node(&format!("{scope}Add_1"), "Add")?;
    let (bias, _) = constant_and_other(index, shift)?;
    let variance = index.node(&format!("{scope}Add"), "Add")?;
    let norm = Norm {
        weight: weight.into_values(&[hidden])?,
        bias: bias.into_values(&[hidden])?,
        epsilon: index.scalar(input(variance, 1)?)?,
    };
    Ok((norm, output(shift)?))
}
