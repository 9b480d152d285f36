//! What all families are made of.

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
        let mut columns = Vec::with_capacity(weight.len());
        for input in 0..inputs {
            columns.extend(
                weight
                    .iter()
                    .skip(input)
                    .step_by(inputs.max(1))
                    .take(outputs),
            );
        }
        Self {
            inputs,
            outputs,
            weight: columns,
            bias,
        }
    }

    /// Multiplies output i by `scale[i]`.
    pub fn scale_outputs(&mut self, scale: &[f32]) {
        for row in self.weight.chunks_mut(self.outputs.max(1)) {
            multiply(row, scale);
        }
        multiply(&mut self.bias, scale);
    }
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
