//! Tensors by name, whatever kind of file they are in.

use super::{Mismatch, Tensor};
use crate::family::weights::{Linear, Norm, RmsNorm};
use crate::narrow::Blocks;

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

    /// The integers of a tensor of these dimensions, where a bundle can keep them as they are.
    fn blocks(&self, _name: &str, _dims: [usize; 2]) -> Result<Option<Blocks>, Mismatch> {
        Ok(None)
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
        let weight = format!("{name}.weight");
        let bias = self.bias(&format!("{name}.bias"), outputs)?;
        if let Some(blocks) = self.blocks(&weight, [outputs, inputs])? {
            return Ok(Linear::from_blocks(blocks, bias));
        }
        let weight = self.values(&weight, &[outputs, inputs])?;
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
