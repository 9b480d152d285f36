//! What codes the mean of a frame.

use astra_bundle::round_to_f16;
use astra_codec::{MeanQuantizer, UNIFORM_STEPS};
use std::ops::Range;

use super::FitError;

/// Error of a uniform quantizer of 0 to 8 bits with those steps, of a normal variable of variance 1 (Max, 1960, table II).
const ERRORS: [f64; 9] = [
    1.0, 0.3634, 0.1188, 0.03744, 0.01154, 0.003495, 0.001041, 0.0003035, 0.00008714,
];
/// Least deviation that a step is made for: what float16 still holds of the least step.
const LEAST: f64 = 1e-4;

/// A uniform scalar quantizer for each place of the coded vector.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedMean {
    /// Bits of each place, 0 to 8: `[R]`.
    pub bits: Vec<u8>,
    /// Step of each place, values that float16 holds: `[R]`.
    pub steps: Vec<f32>,
}

impl FittedMean {
    /// For frames with these means, `[frames, rank]`, in `total` bits a frame: each bit goes where it lowers the error most (Fox,
    /// "Discrete optimization via marginal analysis", 1966).
    pub(super) fn fit(means: &[f32], rank: usize, total: usize) -> Self {
        let mut variances = vec![0.0_f64; rank];
        let mut frames = 0.0_f64;
        for mean in means.chunks_exact(rank) {
            frames += 1.0;
            for (sum, &x) in variances.iter_mut().zip(mean) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        for variance in &mut variances {
            *variance = (*variance / frames.max(1.0)).max(LEAST * LEAST);
        }
        let mut bits = vec![0_u8; rank];
        for _ in 0..total {
            let gain = |(&bits, variance): (&u8, &f64)| {
                let now = ERRORS.get(usize::from(bits))?;
                let next = ERRORS.get(usize::from(bits) + 1)?;
                Some((now - next) * variance)
            };
            let gains = bits.iter().zip(&variances).map(gain).enumerate();
            let best = gains
                .max_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
            match best {
                Some((axis, Some(_))) => {
                    if let Some(bits) = bits.get_mut(axis) {
                        *bits += 1;
                    }
                }
                _ => break,
            }
        }
        let step = |(&bits, variance): (&u8, &f64)| {
            let unit = UNIFORM_STEPS.get(usize::from(bits).wrapping_sub(1));
            unit.map_or(0.0, |unit| unit * variance.sqrt() as f32)
        };
        let mut steps: Vec<f32> = bits.iter().zip(&variances).map(step).collect();
        round_to_f16(&mut steps);
        Self { bits, steps }
    }

    /// The places listed in `order`, in its order.
    pub(super) fn select(&self, order: &[u16]) -> Self {
        let places = |order: &u16| usize::from(*order);
        Self {
            bits: order
                .iter()
                .filter_map(|o| self.bits.get(places(o)).copied())
                .collect(),
            steps: order
                .iter()
                .filter_map(|o| self.steps.get(places(o)).copied())
                .collect(),
        }
    }

    /// What receivers read of `means`, `[frames, R]`, in their place.
    pub(super) fn through(&self, means: &mut [f32]) -> Result<(), FitError> {
        let quantizer = MeanQuantizer::new(&self.bits, &self.steps)?;
        let mut packed = vec![0; quantizer.packed_len()];
        for mean in means.chunks_exact_mut(quantizer.rank()) {
            quantizer.encode(mean, &mut packed)?;
        }
        Ok(())
    }
}

/// Mean of the rows of each frame: `[frames, rank]` of `values`, `[rows, rank]`.
pub(super) fn means_of(values: &[f32], rank: usize, frames: &[Range<usize>]) -> Vec<f32> {
    let mut means = Vec::with_capacity(frames.len() * rank);
    for frame in frames {
        let rows = values.get(frame.start * rank..frame.end * rank);
        let mut mean = vec![0.0_f32; rank];
        for row in rows.unwrap_or_default().chunks_exact(rank) {
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
        }
        let share = 1.0 / frame.len().max(1) as f32;
        means.extend(mean.into_iter().map(|mean| mean * share));
    }
    means
}

/// Adds `scale` times the mean of its frame to each row of `values`, `[rows, rank]`.
pub(super) fn add_means(
    values: &mut [f32],
    rank: usize,
    frames: &[Range<usize>],
    means: &[f32],
    scale: f32,
) {
    for (frame, mean) in frames.iter().zip(means.chunks_exact(rank)) {
        let rows = values.get_mut(frame.start * rank..frame.end * rank);
        for row in rows.unwrap_or_default().chunks_exact_mut(rank) {
            row.iter_mut()
                .zip(mean)
                .for_each(|(x, mean)| *x += scale * mean);
        }
    }
}
