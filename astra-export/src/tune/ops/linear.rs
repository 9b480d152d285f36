//! A linear map whose weights are constant.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Storage, Tensor};

/// `x weight + bias`, with no gradient for either: candle would compute that of the weight too.
#[derive(Clone, Debug)]
pub(in crate::tune) struct Linear {
    /// `[inputs, outputs]`
    pub(in crate::tune) weight: Tensor,
    /// `[outputs]`
    pub(in crate::tune) bias: Option<Tensor>,
}

impl Linear {
    /// Of rows `[m, inputs]`: `[m, outputs]`.
    pub(in crate::tune) fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        rows.contiguous()?.apply_op1(self.clone())
    }
}

impl CustomOp1 for Linear {
    fn name(&self) -> &'static str {
        "linear map with constant weights"
    }

    fn cpu_fwd(&self, rows: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (m, inputs) = layout.shape().dims2()?;
        let (found, outputs) = self.weight.dims2()?;
        if found != inputs {
            candle_core::bail!("linear map: found rows of {inputs}, expected {found}");
        }
        let mut product = with_cpu(&self.weight, |weight, of_weight| {
            rows.matmul(weight, (1, m, outputs, inputs), layout, of_weight)
        })?;
        if let Some(bias) = &self.bias {
            let bias = bias.to_vec1::<f32>()?;
            let CpuStorage::F32(product) = &mut product else {
                return Err(Error::msg("found a product that is not float32"));
            };
            for row in product.chunks_exact_mut(outputs.max(1)) {
                row.iter_mut().zip(&bias).for_each(|(x, b)| *x += b);
            }
        }
        Ok((product, Shape::from((m, outputs))))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.matmul(&self.weight.t()?).map(Some)
    }
}

fn with_cpu<T>(tensor: &Tensor, f: impl FnOnce(&CpuStorage, &Layout) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(storage, layout),
        _ => Err(Error::msg(
            "found a tensor elsewhere, expected it in memory",
        )),
    }
}
