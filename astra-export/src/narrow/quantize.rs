//! A float matrix to blocks.

use super::{Bits, Blocks, Parts};

/// Largest block of 8-bit integers. Beyond it the scales are below 1/32 of the bytes.
const LARGEST: usize = 128;
/// Block of 4-bit integers, whose scale matters more.
const OF_FOUR_BITS: usize = 32;
/// Smallest block of ONNX Runtime's kernels.
const SMALLEST: usize = 16;
/// Scales that are tried for a block of 4 bits: shares of the one at which the largest weight is not clipped.
const SHARES: [f32; 8] = [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 1.05, 1.1];

/// The block of a matrix with rows of `inputs` weights: the largest power of two that divides them, up to a limit of the width of the
/// integers. `None` if that is smaller than ONNX Runtime's kernels take.
pub fn block_size(inputs: usize, bits: Bits) -> Option<usize> {
    let most = match bits {
        Bits::Four => OF_FOUR_BITS,
        Bits::Eight => LARGEST,
    };
    let divides = 1 << inputs.trailing_zeros().min(most.trailing_zeros());
    (inputs > 0 && divides >= SMALLEST).then_some(divides)
}

/// A matrix `[outputs, inputs]` in blocks of [`block_size`], without minima. `None` for rows that blocks do not divide, and for another
/// number of weights.
pub fn quantize(weights: &[f32], [outputs, inputs]: [usize; 2], bits: Bits) -> Option<Blocks> {
    let size = block_size(inputs, bits)?;
    let mut parts = Parts::default();
    for block in weights.chunks(size) {
        let scale = match bits {
            Bits::Four => best_scale(block),
            Bits::Eight => extreme(block).abs() / 127.0,
        };
        parts.scales.push(scale);
        let integers = block.iter().map(|&weight| integer(weight, scale, bits));
        parts.integers.extend(integers);
    }
    Blocks::pack(bits, size, [outputs, inputs], parts)
}

/// The nearest integer, as it is stored.
fn integer(weight: f32, scale: f32, bits: Bits) -> u8 {
    let zero = f32::from(bits.zero());
    let steps = match scale == 0.0 {
        true => 0.0,
        false => (weight / scale).round(),
    };
    (steps + zero).clamp(0.0, 2.0 * zero - 1.0) as u8
}

/// The weight that is farthest from 0.
fn extreme(block: &[f32]) -> f32 {
    let larger = |most: f32, &weight: &f32| match weight.abs() > most.abs() {
        true => weight,
        false => most,
    };
    block.iter().fold(0.0, larger)
}

/// The scale of least squared error. It has the sign with which the extreme weight becomes -8, as there is no 8.
fn best_scale(block: &[f32]) -> f32 {
    let whole = extreme(block) / -8.0;
    let error = |scale: f32| -> f32 {
        let errors = block.iter().map(|&weight| {
            let steps = f32::from(integer(weight, scale, Bits::Four)) - 8.0;
            (weight - scale * steps).powi(2)
        });
        errors.sum()
    };
    let scales = SHARES.map(|share| (share * whole, error(share * whole)));
    let best = scales.into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map_or(whole, |(scale, _)| scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| (i as f32 * 0.37).sin() * (1.0 + i as f32 / 64.0))
            .collect()
    }

    #[test]
    fn blocks_divide_rows() {
        for (inputs, four, eight) in [
            (576, Some(32), Some(64)),
            (384, Some(32), Some(128)),
            (1536, Some(32), Some(128)),
            (48, Some(16), Some(16)),
            (40, None, None),
            (0, None, None),
        ] {
            assert_eq!(block_size(inputs, Bits::Four), four, "{inputs}");
            assert_eq!(block_size(inputs, Bits::Eight), eight, "{inputs}");
        }
    }

    #[test]
    fn errors_are_at_most_half_a_step() {
        let weights = weights(256);
        let blocks = quantize(&weights, [4, 64], Bits::Eight).unwrap();
        for (found, block) in blocks.values().chunks(64).zip(weights.chunks(64)) {
            let step = extreme(block).abs() / 127.0;
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= step * 0.501;
            assert!(found.iter().zip(block).all(near));
        }
    }

    #[test]
    fn four_bits_are_no_worse_than_plain_rounding() {
        let weights = weights(256);
        let found = quantize(&weights, [4, 64], Bits::Four).unwrap().values();
        let error = |found: &[f32]| -> f32 {
            let pairs = found.iter().zip(&weights);
            pairs.map(|(a, b)| (a - b).powi(2)).sum()
        };
        let plain = weights.chunks(32).flat_map(|block| {
            let step = extreme(block).abs() / 7.0;
            block
                .iter()
                .map(move |weight| (weight / step).round() * step)
        });
        let plain: Vec<f32> = plain.collect();
        assert!(error(&found) < error(&plain));
    }

    #[test]
    fn zeros_stay_zeros() {
        for bits in [Bits::Four, Bits::Eight] {
            let blocks = quantize(&[0.0; 32], [1, 32], bits).unwrap();
            assert_eq!(blocks.values(), [0.0; 32]);
        }
    }
}
