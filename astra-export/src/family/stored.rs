//! Parts of all families in the weights of a bundle, and what they add to a graph.

use astra_bundle::{BundleError, BundleWriter, ExactBlock};

use super::weights::{Linear, Norm, RmsNorm};
use crate::graph::{GraphBuilder, StoredLinear, StoredNorm, Value};

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
    let weight = writer.weights(&linear.weight, &[linear.inputs, linear.outputs])?;
    let bias = if linear.bias.iter().all(|&value| value == 0.0) {
        None
    } else {
        Some(writer.weights(&linear.bias, &[linear.outputs])?)
    };
    Ok(StoredLinear { weight, bias })
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

/// `[Wk | Wv]` and `[bk | bv]`.
///
/// A copy of the weights `local` has: one fused matrix there, shared with this, would need a split of its result and was
/// measured 1 to 6 % slower than separate ones at 65 to 1370 rows.
pub(super) fn store_exact(
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
