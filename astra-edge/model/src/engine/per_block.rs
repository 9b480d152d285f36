//! A buffer whose width differs between blocks.

use ort::value::Tensor;

use super::EngineError;
use super::tensors::zeros;

/// One tensor for each distinct width of the blocks: blocks of the same width share it.
pub(super) struct PerBlock {
    tensors: Vec<Tensor<f32>>,
    /// Of each block: which tensor, and its columns.
    blocks: Vec<(usize, usize)>,
}

impl PerBlock {
    /// Zeros: [rows, width] of each block.
    pub(super) fn new(
        rows: usize,
        widths: impl Iterator<Item = usize> + Clone,
    ) -> Result<Self, EngineError> {
        let mut distinct: Vec<usize> = widths.clone().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let tensors = distinct.iter().map(|&width| zeros([rows, width]));
        let index = |width: usize| distinct.partition_point(|&other| other < width);
        Ok(Self {
            tensors: tensors.collect::<Result<_, _>>()?,
            blocks: widths.map(|width| (index(width), width)).collect(),
        })
    }

    pub(super) fn get(&self, block: usize) -> Result<&Tensor<f32>, EngineError> {
        let tensor = self.blocks.get(block);
        let tensor = tensor.and_then(|&(index, _)| self.tensors.get(index));
        tensor.ok_or_else(|| self.no_block(block))
    }

    pub(super) fn get_mut(&mut self, block: usize) -> Result<&mut Tensor<f32>, EngineError> {
        let refused = self.no_block(block);
        let tensor = self.blocks.get(block);
        let tensor = tensor.and_then(|&(index, _)| self.tensors.get_mut(index));
        tensor.ok_or(refused)
    }

    /// Values of the tensor of a block.
    pub(super) fn values(&self, block: usize) -> Result<&[f32], EngineError> {
        Ok(self.get(block)?.extract_tensor().1)
    }

    pub(super) fn values_mut(&mut self, block: usize) -> Result<&mut [f32], EngineError> {
        Ok(self.get_mut(block)?.extract_tensor_mut().1)
    }

    /// Columns in a block.
    pub(super) fn width(&self, block: usize) -> Result<usize, EngineError> {
        let width = self.blocks.get(block).map(|&(_, width)| width);
        width.ok_or_else(|| self.no_block(block))
    }

    fn no_block(&self, block: usize) -> EngineError {
        EngineError::NoSuchBlock {
            found: block,
            blocks: self.blocks.len(),
        }
    }
}
