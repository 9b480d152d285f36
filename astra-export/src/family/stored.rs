//! Parts of all families in the weights of a bundle.

use astra_bundle::{BundleError, BundleWriter, ExactBlock};

use super::weights::{Linear, Norm, RmsNorm};
use crate::graph::{StoredLinear, StoredNorm};

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
