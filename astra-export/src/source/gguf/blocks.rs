//! Integers of quantized GGUF tensors as the blocks that a bundle stores, each weight as it was.
//!
//! Block layouts are ggml's (`ggml-common.h`, and `dequantize_row_*` of `ggml-quants.c`). Types of 5 and 6 bits become 8; the minimum
//! of a type without a middle is that of its middle integer.

use candle_core::quantized::GgmlDType;

use super::quantized::ValueType;
use crate::narrow::{Bits, Blocks, Parts};
use crate::source::tensor::half_to_single;

/// A matrix `[outputs, inputs]` of a type that blocks hold exactly; `None` for any other.
pub(super) fn blocks(kind: ValueType, bytes: &[u8], shape: [usize; 2]) -> Option<Blocks> {
    let ValueType::Candle(kind) = kind else {
        return None;
    };
    let (bits, size) = match kind {
        GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q4K => (Bits::Four, 32),
        GgmlDType::Q5_0 | GgmlDType::Q5_1 | GgmlDType::Q8_0 | GgmlDType::Q5K => (Bits::Eight, 32),
        GgmlDType::Q6K => (Bits::Eight, 16),
        _ => return None,
    };
    let mut parts = Parts::default();
    for block in bytes.chunks(kind.type_size()) {
        match kind {
            GgmlDType::Q4_0 => q4_0(block, &mut parts),
            GgmlDType::Q4_1 => q4_1(block, &mut parts),
            GgmlDType::Q5_0 => q5_0(block, &mut parts),
            GgmlDType::Q5_1 => q5_1(block, &mut parts),
            GgmlDType::Q8_0 => q8_0(block, &mut parts),
            GgmlDType::Q4K => q4_k(block, &mut parts),
            GgmlDType::Q5K => q5_k(block, &mut parts),
            _ => q6_k(block, &mut parts),
        }?;
    }
    Blocks::pack(bits, size, shape, parts)
}

fn half(bytes: [u8; 2]) -> f32 {
    half_to_single(u16::from_le_bytes(bytes))
}

/// The lower four bits of every byte, then the upper four.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let low = bytes.iter().map(|byte| byte & 15);
    low.chain(bytes.iter().map(|byte| byte >> 4))
}

/// Scale, 32 integers of 4 bits around 8.
fn q4_0(block: &[u8], parts: &mut Parts) -> Option<()> {
    let (scale, integers) = block.split_first_chunk()?;
    parts.scales.push(half(*scale));
    parts.integers.extend(nibbles(integers));
    Some(())
}

/// Scale, minimum, 32 integers of 4 bits.
fn q4_1(block: &[u8], parts: &mut Parts) -> Option<()> {
    let (scale, rest) = block.split_first_chunk()?;
    let (minimum, integers) = rest.split_first_chunk()?;
    let scale = half(*scale);
    parts.scales.push(scale);
    parts.minima.push(half(*minimum) + 8.0 * scale);
    parts.integers.extend(nibbles(integers));
    Some(())
}

/// Scale, the fifth bits, the lower four bits of 32 integers around 16.
fn q5_0(block: &[u8], parts: &mut Parts) -> Option<()> {
    let (scale, rest) = block.split_first_chunk()?;
    parts.scales.push(half(*scale));
    five_bits(rest, 128 - 16, parts)
}

/// The same with a minimum, around 0.
fn q5_1(block: &[u8], parts: &mut Parts) -> Option<()> {
    let (scale, rest) = block.split_first_chunk()?;
    let (minimum, rest) = rest.split_first_chunk()?;
    parts.scales.push(half(*scale));
    parts.minima.push(half(*minimum));
    five_bits(rest, 128, parts)
}

fn five_bits(bytes: &[u8], zero: u8, parts: &mut Parts) -> Option<()> {
    let (high, low) = bytes.split_first_chunk()?;
    let high = u32::from_le_bytes(*high);
    let integers = nibbles(low).zip(0..);
    let integers = integers.map(|(low, i): (u8, u32)| low | ((high >> i & 1) as u8) << 4);
    parts
        .integers
        .extend(integers.map(|integer| integer + zero));
    Some(())
}

/// Scale, 32 signed bytes.
fn q8_0(block: &[u8], parts: &mut Parts) -> Option<()> {
    let (scale, integers) = block.split_first_chunk()?;
    parts.scales.push(half(*scale));
    parts
        .integers
        .extend(integers.iter().map(|byte| byte ^ 128));
    Some(())
}

/// Scale and minimum of a run of 32 weights out of eight: 6 bits each, as `get_scale_min_k4` unpacks them.
fn k4(packed: &[u8; 12], run: usize) -> Option<[f32; 2]> {
    let at = |i: usize| packed.get(i).copied();
    let [scale, minimum] = match run.checked_sub(4) {
        None => [at(run)? & 63, at(run + 4)? & 63],
        Some(low) => [
            at(run + 4)? & 15 | at(low)? >> 6 << 4,
            at(run + 4)? >> 4 | at(run)? >> 6 << 4,
        ],
    };
    Some([f32::from(scale), f32::from(minimum)])
}

/// `d`, `dmin`, eight scales and minima, 256 integers of 4 bits: of each 32 bytes the lower bits are one run, the upper the next.
fn q4_k(block: &[u8], parts: &mut Parts) -> Option<()> {
    let (d, rest) = block.split_first_chunk()?;
    let (d_min, rest) = rest.split_first_chunk()?;
    let (packed, integers) = rest.split_first_chunk::<12>()?;
    for run in 0..8 {
        let [scale, minimum] = k4(packed, run)?;
        let scale = half(*d) * scale;
        parts.scales.push(scale);
        parts.minima.push(8.0 * scale - half(*d_min) * minimum);
    }
    for pair in integers.chunks(32) {
        parts.integers.extend(nibbles(pair));
    }
    Some(())
}

/// The same with the fifth bits of 256 integers before the lower four: bit r of byte i is that of weight i of run r.
fn q5_k(block: &[u8], parts: &mut Parts) -> Option<()> {
    let (d, rest) = block.split_first_chunk()?;
    let (d_min, rest) = rest.split_first_chunk()?;
    let (packed, rest) = rest.split_first_chunk::<12>()?;
    let (high, low) = rest.split_first_chunk::<32>()?;
    for run in 0..8 {
        let [scale, minimum] = k4(packed, run)?;
        parts.scales.push(half(*d) * scale);
        parts.minima.push(-half(*d_min) * minimum);
    }
    let low = low.chunks(32).flat_map(nibbles);
    for (low, place) in low.zip(0..) {
        let (run, weight): (usize, usize) = (place / 32, place % 32);
        let fifth = high.get(weight)? >> run & 1;
        parts.integers.push(128 + (low | fifth << 4));
    }
    Some(())
}

/// Lower four bits, upper two bits and 16 signed scales of 256 integers around 32, then `d`. Of each 64 bytes of lower bits and 32
/// of upper ones, the weights are four runs of 32.
fn q6_k(block: &[u8], parts: &mut Parts) -> Option<()> {
    let (low, rest) = block.split_first_chunk::<128>()?;
    let (high, rest) = rest.split_first_chunk::<64>()?;
    let (scales, d) = rest.split_first_chunk::<16>()?;
    let d = half(*d.first_chunk()?);
    let signed = scales.iter().map(|&scale| f32::from(scale as i8));
    parts.scales.extend(signed.map(|scale| d * scale));
    for (low, high) in low.chunks(64).zip(high.chunks(32)) {
        for run in 0..4 {
            let low = nibbles(low).skip(32 * run).take(32);
            let integers = low
                .zip(high)
                .map(|(low, high)| low | (high >> (2 * run) & 3) << 4);
            parts
                .integers
                .extend(integers.map(|integer| integer + 128 - 32));
        }
    }
    Some(())
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
