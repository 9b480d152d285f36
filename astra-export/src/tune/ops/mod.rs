//! Operators with gradients for training on processors.
//!
//! Weights that are not trained cost no gradient of their own, and what is one loop is one operator: candle's composed forms
//! walk the memory several times, and its fused ones cut gradients without an error.
//!
//! - `linear`: a linear map whose weights are constant
//! - `norm`: normalization of rows
//! - `activation`: GELU and SiLU
//! - `softmax`: softmax of rows, causal where needed

mod activation;
mod linear;
mod norm;
mod softmax;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, Error, Layout, Result, Shape};

pub(super) use activation::Activation;
pub(super) use linear::Linear;
pub(super) use norm::Norm;
pub(super) use softmax::Softmax;

/// The values of a contiguous float32 tensor.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    let range = layout.contiguous_offsets();
    let (start, end) = range.ok_or_else(|| Error::msg("found a strided tensor, expected rows"))?;
    all.get(start..end)
        .ok_or_else(|| Error::msg("found a layout outside its storage"))
}

/// Columns of the rows of a tensor.
fn columns(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(1).max(1)
}

fn made(values: Vec<f32>, layout: &Layout) -> (CpuStorage, Shape) {
    (CpuStorage::F32(values), layout.shape().clone())
}
