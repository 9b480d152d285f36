//! Tensors by name, whatever kind of file they are in.

use super::{Mismatch, Tensor};
use crate::family::weights::{Linear, Norm, RmsNorm};

/// The tensors of a file.
pub(super) trait Tensors {
    /// In float32.
    fn tensor(&self, name: &str) -> Result<Tensor, Mismatch>;

    fn contains(&self, name: &str) -> bool;

    /// The values of a tensor of these dimensions, all of them finite.
    fn values(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>, Mismatch> {
        let values = self.tensor(name)?.into_values(dims)?;
        // Answers would be nothing, or cut short, and say nothing of it.
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(values),
            Some(value) => Err(Mismatch::new(name, value, "finite values")),
        }
    }

    /// A bias, or zeros where there is none.
    fn bias(&self, name: &str, outputs: usize) -> Result<Vec<f32>, Mismatch> {
        if self.contains(name) {
            return self.values(name, &[outputs]);
        }
        Ok(vec![0.0; outputs])
    }

    /// `NAME.weight` `[outputs, inputs]` and, where there is one, `NAME.bias`.
    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, Mismatch> {
        let weight = self.values(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.bias(&format!("{name}.bias"), outputs)?;
        Ok(Linear::from_transposed(inputs, outputs, &weight, bias))
    }

    /// `NAME.weight` and `NAME.bias`.
    fn layer_norm(&self, name: &str, channels: usize, epsilon: f32) -> Result<Norm, Mismatch> {
        Ok(Norm {
            weight: self.values(&format!("{name}.weight"), &[channels])?,
            bias: self.values(&format!("{name}.bias"), &[channels])?,
            epsilon,
        })
    }

    /// `NAME.weight`
    fn rms_norm(&self, name: &str, channels: usize, epsilon: f32) -> Result<RmsNorm, Mismatch> {
        Ok(RmsNorm {
            weight: self.values(&format!("{name}.weight"), &[channels])?,
            epsilon,
        })
    }
}
