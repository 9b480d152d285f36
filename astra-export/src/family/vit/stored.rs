//! A vision Transformer in the weights of a bundle.

use astra_bundle::{BundleError, BundleWriter, ExactBlock, Matrix, Shape, TensorRef};

use super::head::StoredHead;
use super::model::{BlockWeights, ImageScale, VitModel};
use crate::family::stored::{
    StoredAttention, StoredMlp, encoder_matrices, store_exact, store_norm,
};
use crate::family::weights::Linear;
use crate::graph::StoredNorm;

/// Every tensor the graphs refer to, each stored once.
#[derive(Debug)]
pub struct StoredVit {
    /// Dimensions at this input size.
    pub shape: Shape,
    /// What exact mode decodes with, by block.
    pub exact: Vec<ExactBlock>,
    pub(super) patch: usize,
    /// Rows and columns of the grid of patches.
    pub(super) side: usize,
    /// `[patch * patch * 3, D]`: from bytes of pixels.
    pub(super) projection: TensorRef,
    /// `[T, D]`: positions and all that the projection adds.
    pub(super) positions: TensorRef,
    /// `[1, D]`
    pub(super) class_token: TensorRef,
    pub(super) blocks: Vec<StoredBlock>,
    pub(super) norm: StoredNorm,
    pub(super) head: StoredHead,
}

#[derive(Debug)]
pub(super) struct StoredBlock {
    pub(super) norm1: StoredNorm,
    pub(super) attention: StoredAttention,
    pub(super) norm2: StoredNorm,
    pub(super) mlp: StoredMlp,
}

impl StoredVit {
    /// Stores `model` for square inputs of `side` patches a side.
    ///
    /// # Errors
    /// Whatever the writer says.
    pub fn store(
        writer: &mut BundleWriter,
        model: &VitModel,
        scale: &ImageScale,
        side: usize,
    ) -> Result<Self, BundleError> {
        let hidden = model.hidden;
        let folded = fold_scale(&model.projection, scale, model.patch);
        let mut positions = model.positions.resized(side).values().to_vec();
        for row in positions.chunks_mut(hidden.max(1)) {
            for (position, bias) in row.iter_mut().zip(&folded.bias) {
                *position += bias;
            }
        }
        let mut blocks = Vec::new();
        let projection = writer.weights(&folded.weight, &[folded.inputs, hidden])?;
        let positions = writer.weights(&positions, &[side * side, hidden])?;
        let class_token = writer.weights(&model.class_token, &[1, hidden])?;
        for block in &model.blocks {
            blocks.push(store_block(writer, block)?);
        }
        let keys_and_values = model.blocks.iter().map(|block| [&block.key, &block.value]);
        let exact = store_exact(writer, keys_and_values)?;
        Ok(Self {
            shape: Shape {
                hidden,
                heads: model.heads,
                kv_heads: model.heads,
                head_dim: hidden / model.heads.max(1),
                blocks: blocks.len(),
                tokens: side * side,
                class_tokens: 1,
            },
            exact,
            patch: model.patch,
            side,
            projection,
            positions,
            class_token,
            blocks,
            norm: store_norm(writer, &model.norm)?,
            head: StoredHead::store(writer, &model.head, side * model.patch)?,
        })
    }
}

impl StoredVit {
    /// Every matrix of the blocks.
    pub fn matrices(&self) -> Vec<Matrix> {
        let blocks = self.blocks.iter();
        encoder_matrices(blocks.map(|block| (&block.attention, &block.mlp)))
    }
}

fn store_block(
    writer: &mut BundleWriter,
    block: &BlockWeights,
) -> Result<StoredBlock, BundleError> {
    Ok(StoredBlock {
        norm1: store_norm(writer, &block.norm1)?,
        attention: StoredAttention::store(
            writer,
            [&block.query, &block.key, &block.value, &block.output],
        )?,
        norm2: store_norm(writer, &block.norm2)?,
        mlp: StoredMlp::store(writer, [&block.up, &block.down])?,
    })
}

/// The projection from bytes in the order row, column, channel, instead of normalized values in the order channel, row,
/// column: with v = (byte / 255 - mean) / std,  v · w = byte · w / (255 std) - mean w / std.
fn fold_scale(projection: &Linear, scale: &ImageScale, patch: usize) -> Linear {
    let area = patch * patch;
    let rows: Vec<&[f32]> = projection
        .weight
        .chunks(projection.outputs.max(1))
        .collect();
    let mut weight = Vec::with_capacity(projection.weight.len());
    let mut bias: Vec<f64> = projection.bias.iter().map(|&b| f64::from(b)).collect();
    for pixel in 0..area {
        for (channel, (&mean, &std)) in scale.mean.iter().zip(&scale.std).enumerate() {
            let row = rows
                .get(channel * area + pixel)
                .copied()
                .unwrap_or_default();
            for (bias, &w) in bias.iter_mut().zip(row) {
                let w = f64::from(w) / f64::from(std);
                weight.push((w / 255.0) as f32);
                *bias -= w * f64::from(mean);
            }
        }
    }
    Linear {
        inputs: projection.inputs,
        outputs: projection.outputs,
        weight,
        bias: bias.into_iter().map(|b| b as f32).collect(),
        blocks: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One output over patches of 2 x 2: weight i stands at channel, row, column.
    #[test]
    fn bytes_give_what_normalized_values_gave() {
        let weight: Vec<f32> = (0..12).map(|i| (i as f32 * 0.7).sin()).collect();
        let projection = Linear {
            inputs: 12,
            outputs: 1,
            weight,
            bias: vec![0.25],
            blocks: None,
        };
        let scale = ImageScale {
            mean: [0.5, 0.4, 0.3],
            std: [0.2, 0.25, 0.3],
        };
        let bytes: Vec<u8> = (0..12).map(|i| (i * 83 % 256) as u8).collect();
        let mut expected = 0.25;
        for (i, &byte) in bytes.iter().enumerate() {
            let (pixel, channel) = (i / 3, i % 3);
            let value = (f32::from(byte) / 255.0 - scale.mean[channel]) / scale.std[channel];
            expected += value * projection.weight[channel * 4 + pixel];
        }
        let folded = fold_scale(&projection, &scale, 2);
        let products = bytes
            .iter()
            .zip(&folded.weight)
            .map(|(&b, w)| f32::from(b) * w);
        let found = products.sum::<f32>() + folded.bias[0];
        assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
    }
}
