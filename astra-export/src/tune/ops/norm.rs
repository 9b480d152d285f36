//! Normalization of rows.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::{columns, made, values};

/// Layer normalization, or by the root of the mean square without a bias; weights are constant.
#[derive(Clone, Debug)]
pub(in crate::tune) struct Norm {
    pub(in crate::tune) weight: Vec<f32>,
    pub(in crate::tune) bias: Option<Vec<f32>>,
    pub(in crate::tune) epsilon: f32,
}

impl Norm {
    /// Of rows `[m, D]`.
    pub(in crate::tune) fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        rows.contiguous()?.apply_op1(self.clone())
    }

    /// Mean, and what a row is multiplied by after the mean is subtracted.
    fn moments(&self, row: &[f32]) -> (f32, f32) {
        let count = row.len() as f32;
        let mean = match self.bias {
            Some(_) => row.iter().sum::<f32>() / count,
            None => 0.0,
        };
        let squares: f32 = row.iter().map(|x| (x - mean) * (x - mean)).sum();
        (mean, 1.0 / (squares / count + self.epsilon).sqrt())
    }

    /// Gradient of a row of the input, where `gradient` is that of the result.
    fn row_gradient(&self, row: &[f32], gradient: &[f32], out: &mut [f32]) {
        let (mean, scale) = self.moments(row);
        let count = row.len() as f32;
        let (mut sum, mut product) = (0.0, 0.0);
        for ((x, g), w) in row.iter().zip(gradient).zip(&self.weight) {
            sum += g * w;
            product += g * w * (x - mean) * scale;
        }
        let sum = if self.bias.is_some() {
            sum / count
        } else {
            0.0
        };
        let product = product / count;
        let rows = row.iter().zip(gradient).zip(&self.weight);
        for (out, ((x, g), w)) in out.iter_mut().zip(rows) {
            *out = scale * (g * w - sum - (x - mean) * scale * product);
        }
    }
}

impl CustomOp1 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(&self, rows: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = values(rows, layout)?;
        let mut out = vec![0.0; rows.len()];
        let width = columns(layout);
        for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let (mean, scale) = self.moments(row);
            for ((out, x), w) in out.iter_mut().zip(row).zip(&self.weight) {
                *out = (x - mean) * scale * w;
            }
            for (out, b) in out.iter_mut().zip(self.bias.iter().flatten()) {
                *out += b;
            }
        }
        Ok(made(out, layout))
    }

    fn bwd(&self, rows: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        rows.apply_op2_no_bwd(&gradient, &Gradient(self.clone()))
            .map(Some)
    }
}

struct Gradient(Norm);

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "gradient of norm"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        of_gradient: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, gradient) = (values(rows, layout)?, values(gradient, of_gradient)?);
        let mut out = vec![0.0; rows.len()];
        let width = columns(layout);
        let pairs = rows.chunks_exact(width).zip(gradient.chunks_exact(width));
        for (out, (row, gradient)) in out.chunks_exact_mut(width).zip(pairs) {
            self.0.row_gradient(row, gradient, out);
        }
        Ok(made(out, layout))
    }
}
