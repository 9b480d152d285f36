//! What all families are made of.

use crate::narrow::{Blocks, Storage, quantize};

/// `y = x · weight + bias`
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Rows of the weight.
    pub inputs: usize,
    /// Columns of the weight.
    pub outputs: usize,
    /// `[inputs, outputs]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub bias: Vec<f32>,
    /// The integers that the weight is made of, if it is stored as such.
    pub blocks: Option<Box<Blocks>>,
}

/// Layer normalization over the channels of a token.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// `[D]`
    pub weight: Vec<f32>,
    /// `[D]`
    pub bias: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Normalization by the root of the mean square alone (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
#[derive(Debug, Clone, PartialEq)]
pub struct RmsNorm {
    /// `[D]`
    pub weight: Vec<f32>,
    /// Added to the mean square.
    pub epsilon: f32,
}

impl Linear {
    /// From weights `[outputs, inputs]`, as PyTorch keeps them.
    pub fn from_transposed(inputs: usize, outputs: usize, weight: &[f32], bias: Vec<f32>) -> Self {
        Self {
            inputs,
            outputs,
            weight: transposed(weight, inputs),
            bias,
            blocks: None,
        }
    }

    /// From integers, as they are in the source.
    pub fn from_blocks(blocks: Blocks, bias: Vec<f32>) -> Self {
        let (inputs, outputs) = (blocks.inputs(), blocks.outputs());
        Self {
            blocks: Some(Box::new(blocks.clone())),
            ..Self::from_transposed(inputs, outputs, &blocks.values(), bias)
        }
    }

    /// Brings the weight into the form that it is to be stored in. Rows that blocks do not divide stay float32.
    pub fn store_as(&mut self, storage: Storage) {
        match storage {
            Storage::Source => {}
            Storage::Float32 => self.blocks = None,
            Storage::Quantized(bits) => {
                let rows = transposed(&self.weight, self.outputs);
                self.blocks = quantize(&rows, [self.outputs, self.inputs], bits).map(Box::new);
                if let Some(blocks) = &self.blocks {
                    self.weight = transposed(&blocks.values(), self.inputs);
                }
            }
        }
    }

    /// Multiplies output i by `scale[i]`; the weight is then float32.
    pub fn scale_outputs(&mut self, scale: &[f32]) {
        self.blocks = None;
        for row in self.weight.chunks_mut(self.outputs.max(1)) {
            multiply(row, scale);
        }
        multiply(&mut self.bias, scale);
    }
}

/// Rows of `width` values as columns.
fn transposed(matrix: &[f32], width: usize) -> Vec<f32> {
    let width = width.max(1);
    let column = |i| matrix.iter().skip(i).step_by(width);
    (0..width).flat_map(column).copied().collect()
}

pub(super) fn multiply(values: &mut [f32], by: &[f32]) {
    for (value, by) in values.iter_mut().zip(by) {
        *value *= by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes() {
        let linear = Linear::from_transposed(3, 2, &[1., 2., 3., 4., 5., 6.], vec![7., 8.]);
        assert_eq!(linear.weight, [1., 4., 2., 5., 3., 6.]);
    }

    #[test]
    fn scales_columns_and_bias() {
        let mut linear = Linear::from_transposed(2, 2, &[1., 2., 3., 4.], vec![5., 6.]);
        linear.scale_outputs(&[10., 100.]);
        assert_eq!(linear.weight, [10., 300., 20., 400.]);
        assert_eq!(linear.bias, [50., 600.]);
    }
}
