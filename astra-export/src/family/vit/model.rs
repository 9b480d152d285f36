//! The weights of a vision Transformer, whatever file they came from.

use crate::family::weights::{Linear, Norm, multiply};
use crate::narrow::Storage;
use crate::position::PositionTable;

/// A model with everything that is constant between two matrices folded into one of them: layer scale into the output
/// projections, batch normalization into the convolutions. Every length fits [`VitModel::hidden`]; sources check that.
#[derive(Debug, Clone, PartialEq)]
pub struct VitModel {
    /// D
    pub hidden: usize,
    /// Attention heads, all of width D / heads.
    pub heads: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Patch pixels `[3, patch, patch]` (channel, row, column), normalized, to D.
    pub projection: Linear,
    /// The class token with its position added, `[D]`.
    pub class_token: Vec<f32>,
    /// Positions of the patches at the grid the model was trained with.
    pub positions: PositionTable,
    /// Layers, first to last.
    pub blocks: Vec<BlockWeights>,
    /// What the features go through at the end.
    pub norm: Norm,
    /// What is made of the features.
    pub head: Head,
}

impl VitModel {
    /// Brings the matrices of the blocks into the form that they are to be stored in.
    pub fn store_as(&mut self, storage: Storage) {
        for block in &mut self.blocks {
            let attention = [
                &mut block.query,
                &mut block.key,
                &mut block.value,
                &mut block.output,
            ];
            let mlp = [&mut block.up, &mut block.down];
            for linear in attention.into_iter().chain(mlp) {
                linear.store_as(storage);
            }
        }
    }
}

/// One layer: `x += output(attention(query, key, value of norm1(x)))`, `x += down(gelu(up(norm2(x))))`.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockWeights {
    /// Before attention.
    pub norm1: Norm,
    /// D to D.
    pub query: Linear,
    /// D to D.
    pub key: Linear,
    /// D to D.
    pub value: Linear,
    /// D to D, layer scale folded in.
    pub output: Linear,
    /// Before the MLP.
    pub norm2: Norm,
    /// D to the width of the MLP.
    pub up: Linear,
    /// The width of the MLP to D, layer scale folded in.
    pub down: Linear,
}

/// What is made of the features.
#[derive(Debug, Clone, PartialEq)]
pub enum Head {
    /// Nothing; they are the answer.
    Features,
    /// A map of where to look.
    Saliency(Saliency),
    /// A score a class.
    Classification(Classifier),
}

/// Convolutions that widen the grid of patches, one channel, bilinear to the size of the input, sigmoid.
#[derive(Debug, Clone, PartialEq)]
pub struct Saliency {
    /// Each followed by a ReLU.
    pub stages: Vec<UpConvolution>,
    /// A 1x1 convolution to one channel.
    pub last: Linear,
}

/// A transposed convolution with square kernel, equal on all sides.
#[derive(Debug, Clone, PartialEq)]
pub struct UpConvolution {
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Pixels out per pixel in.
    pub stride: usize,
    /// Pixels cut off each side of the result.
    pub padding: usize,
    /// `[inputs, outputs, kernel, kernel]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub bias: Vec<f32>,
}

/// A linear classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Classifier {
    /// What it looks at.
    pub pooling: Pooling,
    /// To one score a class.
    pub linear: Linear,
    /// Names of the classes, where known.
    pub labels: Option<Vec<String>>,
}

/// What a classifier looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The class token: D channels.
    Class,
    /// The class token, then the mean of the patches: 2 D channels.
    ClassAndMean,
}

/// How bytes of a pixel become what the projection takes: `(byte / 255 - mean) / std`, by channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageScale {
    /// Subtracted.
    pub mean: [f32; 3],
    /// Divided by.
    pub std: [f32; 3],
}

impl ImageScale {
    /// Means and deviations of ImageNet, which DINOv2 and everything derived from it is trained with.
    pub const IMAGENET: Self = Self {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
}

impl UpConvolution {
    /// Folds in what a batch normalization after it does at inference: output channel o times `scale[o]`, plus `shift[o]`.
    pub fn then_affine(&mut self, scale: &[f32], shift: &[f32]) {
        let area = (self.kernel * self.kernel).max(1);
        for filters in self.weight.chunks_mut((self.outputs * area).max(1)) {
            for (filter, scale) in filters.chunks_mut(area).zip(scale) {
                filter.iter_mut().for_each(|value| *value *= scale);
            }
        }
        multiply(&mut self.bias, scale);
        for (bias, shift) in self.bias.iter_mut().zip(shift) {
            *bias += shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affine_goes_by_output_channel() {
        let mut up = UpConvolution {
            inputs: 2,
            outputs: 2,
            kernel: 1,
            stride: 1,
            padding: 0,
            weight: vec![1., 2., 3., 4.],
            bias: vec![1., 1.],
        };
        up.then_affine(&[2., 3.], &[10., 20.]);
        assert_eq!(up.weight, [2., 6., 6., 12.]);
        assert_eq!(up.bias, [12., 23.]);
    }
}
