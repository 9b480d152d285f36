//! Parts of all families in the weights of a bundle, and what they add to a graph.

use astra_bundle::{BundleError, BundleWriter, ExactBlock, Matrix, MatrixBlocks};

use super::weights::{Linear, Norm, RmsNorm};
use crate::graph::{GraphBuilder, StoredLinear, StoredMatrix, StoredNorm, Value};
use crate::narrow::Blocks;

pub(super) fn store_norm(
    writer: &mut BundleWriter,
    norm: &Norm,
) -> Result<StoredNorm, BundleError> {
    Ok(StoredNorm {
        weight: writer.weights(&norm.weight, &[norm.weight.len()])?,
        bias: Some(writer.weights(&norm.bias, &[norm.bias.len()])?),
        epsilon: norm.epsilon,
    })
}

pub(super) fn store_rms_norm(
    writer: &mut BundleWriter,
    norm: &RmsNorm,
) -> Result<StoredNorm, BundleError> {
    Ok(StoredNorm {
        weight: writer.weights(&norm.weight, &[norm.weight.len()])?,
        bias: None,
        epsilon: norm.epsilon,
    })
}

/// A bias of zeros is left out.
pub(super) fn store_linear(
    writer: &mut BundleWriter,
    linear: &Linear,
) -> Result<StoredLinear, BundleError> {
    let (inputs, outputs) = (linear.inputs, linear.outputs);
    let weight = match &linear.blocks {
        None => StoredMatrix::Float(writer.weights(&linear.weight, &[inputs, outputs])?),
        Some(blocks) => StoredMatrix::Blocks {
            inputs,
            outputs,
            blocks: store_blocks(writer, blocks)?,
        },
    };
    let bias = if linear.bias.iter().all(|&value| value == 0.0) {
        None
    } else {
        Some(writer.weights(&linear.bias, &[outputs])?)
    };
    Ok(StoredLinear { weight, bias })
}

pub(super) fn store_blocks(
    writer: &mut BundleWriter,
    blocks: &Blocks,
) -> Result<MatrixBlocks, BundleError> {
    let (outputs, per_row) = (blocks.outputs(), blocks.per_row());
    let bytes = blocks.data().len() / (outputs * per_row).max(1);
    let minima = blocks.minima();
    Ok(MatrixBlocks {
        bits: blocks.bits().count(),
        size: blocks.size(),
        data: writer.weights_u8(blocks.data(), &[outputs, per_row, bytes])?,
        scales: writer.weights(blocks.scales(), &[outputs, per_row])?,
        minima: minima
            .map(|minima| writer.weights(minima, &[outputs, per_row]))
            .transpose()?,
    })
}

/// What a manifest says of the matrix of a linear map.
pub(super) fn matrix(name: String, linear: &StoredLinear) -> Matrix {
    let [inputs, outputs] = linear.weight.sides();
    Matrix {
        name,
        inputs,
        outputs,
        blocks: match &linear.weight {
            StoredMatrix::Float(_) => None,
            StoredMatrix::Blocks { blocks, .. } => Some(blocks.clone()),
        },
    }
}

/// The linear maps of attention in a block.
#[derive(Debug)]
pub(super) struct StoredAttention {
    query: StoredLinear,
    key: StoredLinear,
    value: StoredLinear,
    output: StoredLinear,
}

impl StoredAttention {
    /// Of query, key, value and output.
    pub(super) fn store(
        writer: &mut BundleWriter,
        [query, key, value, output]: [&Linear; 4],
    ) -> Result<Self, BundleError> {
        Ok(Self {
            query: store_linear(writer, query)?,
            key: store_linear(writer, key)?,
            value: store_linear(writer, value)?,
            output: store_linear(writer, output)?,
        })
    }

    /// Its matrices, with their names after `prefix`.
    pub(super) fn matrices(&self, prefix: &str) -> Vec<Matrix> {
        let all = [
            ("query", &self.query),
            ("key", &self.key),
            ("value", &self.value),
            ("output", &self.output),
        ];
        let named = all.map(|(name, linear)| matrix(format!("{prefix}{name}"), linear));
        named.into()
    }

    /// Adds keys and values of n: `[K | V]`.
    pub(super) fn add_keys_and_values(&self, graph: &mut GraphBuilder, n: &Value) -> Value {
        let both = [("key", &self.key), ("value", &self.value)];
        let [keys, values] = both.map(|(name, linear)| graph.linear(name, n, linear));
        graph.concat(&[&keys, &values], 1)
    }

    /// Adds q, k and v of n. `prefix` goes before the names of the weights, here and below.
    pub(super) fn add_projections(
        &self,
        graph: &mut GraphBuilder,
        n: &Value,
        prefix: &str,
    ) -> [Value; 3] {
        [
            ("query", &self.query),
            ("key", &self.key),
            ("value", &self.value),
        ]
        .map(|(name, linear)| graph.linear(&format!("{prefix}{name}"), n, linear))
    }

    /// Adds the projection of what attention mixed, onto x.
    pub(super) fn add_output(
        &self,
        graph: &mut GraphBuilder,
        x: &Value,
        mixed: &Value,
        prefix: &str,
    ) -> Value {
        let projected = graph.linear(&format!("{prefix}output"), mixed, &self.output);
        graph.apply("Add", &[x, &projected], &[])
    }
}

/// An MLP of two linear maps with a GELU between them.
#[derive(Debug)]
pub(super) struct StoredMlp {
    up: StoredLinear,
    down: StoredLinear,
}

/// Every matrix of the blocks of an encoder.
pub(super) fn encoder_matrices<'a>(
    blocks: impl Iterator<Item = (&'a StoredAttention, &'a StoredMlp)>,
) -> Vec<Matrix> {
    let mut matrices = Vec::new();
    for (number, (attention, mlp)) in blocks.enumerate() {
        let prefix = format!("block_{number:02}.");
        matrices.extend(attention.matrices(&prefix));
        matrices.extend(mlp.matrices(&prefix));
    }
    matrices
}

impl StoredMlp {
    pub(super) fn store(
        writer: &mut BundleWriter,
        [up, down]: [&Linear; 2],
    ) -> Result<Self, BundleError> {
        Ok(Self {
            up: store_linear(writer, up)?,
            down: store_linear(writer, down)?,
        })
    }

    /// Its matrices, with their names after `prefix`.
    pub(super) fn matrices(&self, prefix: &str) -> Vec<Matrix> {
        let both = [("up", &self.up), ("down", &self.down)];
        let named = both.map(|(name, linear)| matrix(format!("{prefix}{name}"), linear));
        named.into()
    }

    /// Adds `x + down(gelu(up(n)))`. `prefix` goes before the names of the weights.
    pub(super) fn add(
        &self,
        graph: &mut GraphBuilder,
        x: &Value,
        n: &Value,
        prefix: &str,
    ) -> Value {
        let wide = graph.linear(&format!("{prefix}up"), n, &self.up);
        let wide = graph.apply("Gelu", &[&wide], &[]);
        let narrow = graph.linear(&format!("{prefix}down"), &wide, &self.down);
        graph.apply("Add", &[x, &narrow], &[])
    }
}

/// What exact mode decodes with, by block, of float32 matrices; nothing where a key or value matrix is in blocks, which a graph
/// multiplies as `local` does.
pub(super) fn store_exact<'a>(
    writer: &mut BundleWriter,
    keys_and_values: impl Iterator<Item = [&'a Linear; 2]> + Clone,
) -> Result<Vec<ExactBlock>, BundleError> {
    let mut linears = keys_and_values.clone().flatten();
    if linears.any(|linear| linear.blocks.is_some()) {
        return Ok(Vec::new());
    }
    let blocks = keys_and_values.map(|[key, value]| store_exact_block(writer, key, value));
    blocks.collect()
}

/// `[Wk | Wv]` and `[bk | bv]`.
///
/// A copy of the weights `local` has: one fused matrix there, shared with this, would need a split of its result and was
/// measured 1 to 6 % slower than separate ones at 65 to 1370 rows.
fn store_exact_block(
    writer: &mut BundleWriter,
    key: &Linear,
    value: &Linear,
) -> Result<ExactBlock, BundleError> {
    let rows = |linear: &Linear| linear.outputs.max(1);
    let both = key
        .weight
        .chunks(rows(key))
        .zip(value.weight.chunks(rows(value)));
    let weight: Vec<f32> = both.flat_map(|(k, v)| k.iter().chain(v)).copied().collect();
    let bias: Vec<f32> = key.bias.iter().chain(&value.bias).copied().collect();
    Ok(ExactBlock {
        dec_w: writer.weights(&weight, &[key.inputs, key.outputs + value.outputs])?,
        dec_b: writer.weights(&bias, &[bias.len()])?,
    })
}
