//! Types of the values of a GGUF tensor, and their float32 values.
//!
//! Numbers, names and block layouts are ggml's (`ggml.h`, `ggml-common.h`). `candle-core` decodes all but IQ4_NL and IQ4_XS.

use candle_core::Device;
use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QTensor};

use crate::source::Mismatch;
use crate::source::tensor::{Precision, half_to_single};

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueType {
    Plain(Precision),
    /// Blocks that candle decodes.
    Candle(GgmlDType),
    /// 32 values: a half-precision scale, then 4-bit indices into [`IQ4_VALUES`].
    Iq4Nl,
    /// 256 values: a half-precision scale, eight 6-bit scales, then 4-bit indices into [`IQ4_VALUES`].
    Iq4Xs,
}

/// Every number that ggml has given to a type, and what it is called. Types without a reader here are refused by name.
const TYPES: [(u32, &str, Option<ValueType>); 39] = {
    use GgmlDType::{Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    use ValueType::{Candle, Iq4Nl, Iq4Xs, Plain};
    [
        (0, "F32", Some(Plain(Precision::F32))),
        (1, "F16", Some(Plain(Precision::F16))),
        (2, "Q4_0", Some(Candle(Q4_0))),
        (3, "Q4_1", Some(Candle(Q4_1))),
        (4, "Q4_2", None),
        (5, "Q4_3", None),
        (6, "Q5_0", Some(Candle(Q5_0))),
        (7, "Q5_1", Some(Candle(Q5_1))),
        (8, "Q8_0", Some(Candle(Q8_0))),
        (9, "Q8_1", None),
        (10, "Q2_K", Some(Candle(Q2K))),
        (11, "Q3_K", Some(Candle(Q3K))),
        (12, "Q4_K", Some(Candle(Q4K))),
        (13, "Q5_K", Some(Candle(Q5K))),
        (14, "Q6_K", Some(Candle(Q6K))),
        (15, "Q8_K", None),
        (16, "IQ2_XXS", None),
        (17, "IQ2_XS", None),
        (18, "IQ3_XXS", None),
        (19, "IQ1_S", None),
        (20, "IQ4_NL", Some(Iq4Nl)),
        (21, "IQ3_S", None),
        (22, "IQ2_S", None),
        (23, "IQ4_XS", Some(Iq4Xs)),
        (24, "I8", None),
        (25, "I16", None),
        (26, "I32", None),
        (27, "I64", None),
        (28, "F64", Some(Plain(Precision::F64))),
        (29, "IQ1_M", None),
        (30, "BF16", Some(Plain(Precision::Bf16))),
        (31, "Q4_0_4_4", None),
        (32, "Q4_0_4_8", None),
        (33, "Q4_0_8_8", None),
        (34, "TQ1_0", None),
        (35, "TQ2_0", None),
        (36, "IQ4_NL_4_4", None),
        (39, "MXFP4", None),
        (40, "NVFP4", None),
    ]
};

/// What the 16 indices of IQ4_NL and IQ4_XS stand for, before the scale.
const IQ4_VALUES: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

impl ValueType {
    /// The type with a number; `tensor` is named where it has no reader.
    pub(super) fn of(number: u32, tensor: &str) -> Result<Self, Mismatch> {
        let known = TYPES.iter().find(|(known, ..)| *known == number);
        if let Some((.., Some(found))) = known {
            return Ok(*found);
        }
        let found = match known {
            Some((_, name, _)) => format!("values of type {name}"),
            None => format!("values of type number {number}"),
        };
        let names = TYPES.iter().filter(|(.., reader)| reader.is_some());
        let names: Vec<&str> = names.map(|(_, name, _)| *name).collect();
        Err(Mismatch::new(
            tensor,
            found,
            format!("one of {}", names.join(", ")),
        ))
    }

    /// Values in a block.
    pub(super) fn block(self) -> usize {
        match self {
            Self::Plain(_) => 1,
            Self::Candle(kind) => kind.block_size(),
            Self::Iq4Nl => 32,
            Self::Iq4Xs => 256,
        }
    }

    /// Bytes of a block.
    fn block_bytes(self) -> usize {
        match self {
            Self::Plain(Precision::F64) => 8,
            Self::Plain(Precision::F32) => 4,
            Self::Plain(Precision::F16 | Precision::Bf16) => 2,
            Self::Candle(kind) => kind.type_size(),
            Self::Iq4Nl => 2 + 16,
            Self::Iq4Xs => 2 + 2 + 4 + 128,
        }
    }

    /// Bytes of `values` values; `None` unless they are whole blocks.
    pub(super) fn byte_len(self, values: usize) -> Option<usize> {
        let blocks = values / self.block();
        let whole = values.is_multiple_of(self.block());
        blocks.checked_mul(self.block_bytes()).filter(|_| whole)
    }

    /// The values of whole blocks.
    pub(super) fn decode(self, bytes: &[u8]) -> Result<Vec<f32>, candle_core::Error> {
        match self {
            Self::Plain(precision) => Ok(precision.decode(bytes)),
            Self::Candle(kind) => {
                let values = bytes.len() / self.block_bytes() * self.block();
                decode_with_candle(kind, bytes, values)
            }
            Self::Iq4Nl => Ok(blocks(bytes, iq4_nl)),
            Self::Iq4Xs => Ok(blocks(bytes, iq4_xs)),
        }
    }
}

fn decode_with_candle(
    kind: GgmlDType,
    bytes: &[u8],
    values: usize,
) -> Result<Vec<f32>, candle_core::Error> {
    // Blocks hold numbers of 16 bits, which candle reads in place; a file may place a tensor at an odd address.
    let mut aligned = vec![0u64; bytes.len().div_ceil(size_of::<u64>())];
    let whole: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
    whole
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    let tensor: QTensor = qtensor_from_ggml(kind, whole, vec![values], &Device::Cpu)?;
    tensor.dequantize(&Device::Cpu)?.to_vec1()
}

fn blocks<const N: usize>(bytes: &[u8], decode: fn(&[u8; N], &mut Vec<f32>)) -> Vec<f32> {
    let (blocks, _) = bytes.as_chunks();
    let mut values = Vec::new();
    blocks.iter().for_each(|block| decode(block, &mut values));
    values
}

/// What the lower four bits of every byte stand for, then the upper four.
fn iq4(indices: &[u8], scale: f32, values: &mut Vec<f32>) {
    let low = indices.iter().map(|byte| byte & 15);
    let high = indices.iter().map(|byte| byte >> 4);
    let value = |index: u8| IQ4_VALUES.get(usize::from(index)).copied();
    let found = low.chain(high).filter_map(value);
    values.extend(found.map(|value| value * scale));
}

fn iq4_nl(block: &[u8; 18], values: &mut Vec<f32>) {
    let [low, high, indices @ ..] = block;
    let scale = half_to_single(u16::from_le_bytes([*low, *high]));
    iq4(indices, scale, values);
}

/// `d`, `scales_h` (2 bits of each run of 32 values), `scales_l` (4 bits of each, low half of a byte first), indices.
fn iq4_xs(block: &[u8; 136], values: &mut Vec<f32>) {
    let [d0, d1, h0, h1, l0, l1, l2, l3, indices @ ..] = block;
    let scale = half_to_single(u16::from_le_bytes([*d0, *d1]));
    let high = u16::from_le_bytes([*h0, *h1]);
    let low = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
    for (run, indices) in indices.chunks(16).enumerate() {
        let bits = low >> (4 * run) & 15 | u32::from(high >> (2 * run) & 3) << 4;
        iq4(indices, scale * (bits as f32 - 32.0), values);
    }
}

#[cfg(test)]
#[path = "quantized_tests.rs"]
mod tests;
