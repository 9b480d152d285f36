//! Softmax of rows.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::{columns, made, values};

/// Softmax over the last of three dimensions, `[heads, m, n]`.
#[derive(Clone, Copy, Debug)]
pub(in crate::tune) struct Softmax {
    /// Multiplies the scores.
    pub(in crate::tune) scale: f32,
    /// Where attention is causal: of row i the last `m - 1 - i` keys are not attended to.
    pub(in crate::tune) causal: bool,
}

impl Softmax {
    pub(in crate::tune) fn apply(self, scores: &Tensor) -> Result<Tensor> {
        scores.contiguous()?.apply_op1(self)
    }

    /// How many of a row's keys are attended to.
    fn seen(self, row: usize, layout: &Layout) -> Result<usize> {
        let (_, rows, keys) = layout.shape().dims3()?;
        Ok(match self.causal {
            true => (keys + 1 + row % rows.max(1)).saturating_sub(rows),
            false => keys,
        })
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let scores = values(scores, layout)?;
        let mut out = vec![0.0; scores.len()];
        let width = columns(layout);
        let rows = scores.chunks_exact(width).zip(out.chunks_exact_mut(width));
        for (number, (row, out)) in rows.enumerate() {
            let seen = self.seen(number, layout)?;
            let most = row
                .iter()
                .take(seen)
                .copied()
                .fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for (out, x) in out.iter_mut().zip(row).take(seen) {
                *out = (self.scale * (x - most)).exp();
                sum += *out;
            }
            out.iter_mut().take(seen).for_each(|out| *out /= sum);
        }
        Ok(made(out, layout))
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        result
            .apply_op2_no_bwd(&gradient, &Gradient(self.scale))
            .map(Some)
    }
}

/// Of the scores, from the probabilities: what is not attended to has none.
struct Gradient(f32);

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "gradient of softmax"
    }

    fn cpu_fwd(
        &self,
        shares: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        of_gradient: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (shares, gradient) = (values(shares, layout)?, values(gradient, of_gradient)?);
        let mut out = vec![0.0; shares.len()];
        let width = columns(layout);
        let pairs = shares.chunks_exact(width).zip(gradient.chunks_exact(width));
        for (out, (shares, gradient)) in out.chunks_exact_mut(width).zip(pairs) {
            let mean: f32 = shares.iter().zip(gradient).map(|(p, g)| p * g).sum();
            for (out, (p, g)) in out.iter_mut().zip(shares.iter().zip(gradient)) {
                *out = self.0 * p * (g - mean);
            }
        }
        Ok(made(out, layout))
    }
}
