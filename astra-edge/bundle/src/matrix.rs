//! How the matrices of a model are stored, where some of them are in blocks of narrow integers.

use serde::{Deserialize, Serialize};

use crate::checks::{in_range, require};
use crate::error::Invalid;
use crate::shape::{Dtype, TensorRef};

/// Largest side of a matrix.
const MAX_SIDE: usize = 1 << 24;
/// Smallest and largest block that ONNX Runtime's `MatMulNBits` takes.
const BLOCK_SIZES: core::ops::RangeInclusive<usize> = 16..=256;

/// A matrix of the model, which multiplies rows of `inputs` values to rows of `outputs` values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// What it is in the model: `embedding`, `block_00.query`, `head`.
    pub name: String,
    /// Values of a row before, K.
    pub inputs: usize,
    /// Values of a row after, N.
    pub outputs: usize,
    /// Its values, unless they are float32 and only the graphs name them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<MatrixBlocks>,
}

/// Values in blocks of `size` successive inputs of one output, each with a scale. With q an integer of `data`,
/// `w = scale * (q - 2^(bits - 1)) + minimum`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatrixBlocks {
    /// Bits of an integer: 4 or 8.
    pub bits: u32,
    /// Inputs of a block, a power of two; the last block of an output may reach beyond its inputs.
    pub size: usize,
    /// `[N, blocks, size * bits / 8]`; of two integers of 4 bits in a byte, the first has the low bits.
    pub data: TensorRef,
    /// `[N, blocks]`
    pub scales: TensorRef,
    /// `[N, blocks]`; absent where all are 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minima: Option<TensorRef>,
}

impl Matrix {
    /// Bytes of its values, scales and minima.
    pub fn bytes(&self) -> u64 {
        match &self.blocks {
            None => 4 * self.inputs as u64 * self.outputs as u64,
            Some(blocks) => blocks
                .tensors()
                .map(|tensor| tensor.byte_len().unwrap_or(u64::MAX))
                .fold(0, u64::saturating_add),
        }
    }

    /// How it is stored, for people: `float32`, `4 bits, blocks of 32, with minima`.
    pub fn storage(&self) -> String {
        match &self.blocks {
            None => "float32".to_owned(),
            Some(blocks) => format!(
                "{} bits, blocks of {}{}",
                blocks.bits,
                blocks.size,
                match blocks.minima {
                    Some(_) => ", with minima",
                    None => "",
                }
            ),
        }
    }

    pub(crate) fn validate(&self, field: &str) -> Result<(), Invalid> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        require(
            !self.name.is_empty() && self.name.chars().all(plain),
            format!("{field}.name"),
            format!("{:?}", self.name),
            "letters, digits, '.' and '_'",
        )?;
        in_range(format!("{field}.inputs"), self.inputs, 1..=MAX_SIDE)?;
        in_range(format!("{field}.outputs"), self.outputs, 1..=MAX_SIDE)?;
        match &self.blocks {
            Some(blocks) => blocks.validate(&format!("{field}.blocks"), self),
            None => Ok(()),
        }
    }
}

impl MatrixBlocks {
    /// Integers, scales and, where there are any, minima.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorRef> {
        [&self.data, &self.scales].into_iter().chain(&self.minima)
    }

    fn validate(&self, field: &str, matrix: &Matrix) -> Result<(), Invalid> {
        let at = |name: &str| format!("{field}.{name}");
        require(matches!(self.bits, 4 | 8), at("bits"), self.bits, "4 or 8")?;
        let (first, last) = (BLOCK_SIZES.start(), BLOCK_SIZES.end());
        require(
            BLOCK_SIZES.contains(&self.size) && self.size.is_power_of_two(),
            at("size"),
            self.size,
            format!("a power of two from {first} to {last}"),
        )?;
        let blocks = matrix.inputs.div_ceil(self.size);
        let bytes = match self.bits {
            4 => self.size / 2,
            _ => self.size,
        };
        let data = [matrix.outputs, blocks, bytes];
        self.data.validate_as(&at("data"), &data, Dtype::Uint8)?;
        let scales = [matrix.outputs, blocks];
        self.scales
            .validate_as(&at("scales"), &scales, Dtype::Float32)?;
        match &self.minima {
            Some(minima) => minima.validate_as(&at("minima"), &scales, Dtype::Float32),
            None => Ok(()),
        }
    }
}
