//! The mean of a frame's tokens, which is sent once for all of them.
//!
//! What is left of a frame's tokens after prediction has a common part, that of the picture or the text: too small beside each token's own
//! to move it to another codeword, but attention sums it over all tokens of the frame, where errors of the tokens' own cancel. It is
//! subtracted before the first stage and added by the receiver: mean-removed vector quantization (Baker and Gray, "Image compression
//! using non-adaptive spatial vector quantization", 1982).

use crate::{LengthError, MeanError};

/// Most bits of an axis.
pub const MAX_MEAN_BITS: u8 = 8;
/// Step of the uniform quantizer of 1 to 8 bits with the least error for a normal variable of deviation 1 (Max, "Quantizing for minimum
/// distortion", 1960, table II).
pub const UNIFORM_STEPS: [f32; MAX_MEAN_BITS as usize] = [
    1.5958, 0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.05687, 0.03076,
];
/// Bits of a gain's fraction.
const FRACTION: u8 = 4;
/// What is taken from a gain's exponent: the least gain is 2^-8, the largest 248.
const BIAS: i32 = 8;

/// A uniform scalar quantizer for each axis, and a gain for all of them.
///
/// Axis i takes `bits[i]` bits, 0 for an axis that is not sent; the values of its codes are `gain * steps[i] * (c + 1/2)` for c from
/// -2^(bits - 1) on. The gain is that of the one mean, since a frame of another picture or of other length deviates more or less than
/// those the steps were fitted to.
///
/// Packed are the gain, one byte, and the codes of the axes in order, lowest bit first, to a whole byte.
#[derive(Clone, Copy, Debug)]
pub struct MeanQuantizer<'a> {
    bits: &'a [u8],
    steps: &'a [f32],
    packed: usize,
}

impl<'a> MeanQuantizer<'a> {
    /// Borrows `bits` and `steps`, `[R]` each.
    ///
    /// # Errors
    /// The two are of different lengths, an axis has more than 8 bits, or an axis that is sent has a step that is not a positive number.
    pub fn new(bits: &'a [u8], steps: &'a [f32]) -> Result<Self, MeanError> {
        if bits.len() != steps.len() {
            return Err(MeanError::Steps {
                found: steps.len(),
                expected: bits.len(),
            });
        }
        let mut total = 0;
        for (axis, (&bits, &step)) in bits.iter().zip(steps).enumerate() {
            if bits > MAX_MEAN_BITS {
                return Err(MeanError::Bits { axis, found: bits });
            }
            if bits > 0 && !(step.is_finite() && step > 0.0) {
                return Err(MeanError::Step { axis, found: step });
            }
            total += usize::from(bits);
        }
        Ok(Self {
            bits,
            steps,
            packed: packed_mean_len(total),
        })
    }

    /// Axes, R.
    pub fn rank(&self) -> usize {
        self.bits.len()
    }

    /// Bytes of a packed mean.
    pub fn packed_len(&self) -> usize {
        self.packed
    }

    /// Packs `mean`, `[R]`, into `packed`, and replaces it by the values that a receiver reads. What is not a number becomes some value.
    ///
    /// # Errors
    /// A buffer has another length; both are then untouched.
    pub fn encode(&self, mean: &mut [f32], packed: &mut [u8]) -> Result<(), LengthError> {
        length("mean", mean.len(), self.rank())?;
        length("packed mean", packed.len(), self.packed)?;
        let gain = self.gain(mean);
        let Some((first, rest)) = packed.split_first_mut() else {
            return Ok(());
        };
        *first = gain;
        let gain = gain_of(gain);
        let (mut word, mut filled) = (0_u32, 0);
        let mut rest = rest.iter_mut();
        for ((mean, &bits), &step) in mean.iter_mut().zip(self.bits).zip(self.steps) {
            if bits == 0 {
                *mean = 0.0;
                continue;
            }
            let half = 1_i32 << (bits - 1);
            // The cast rounds towards zero and saturates.
            let ratio = *mean / (gain * step);
            let whole = ratio as i32;
            let floor = whole.saturating_sub(i32::from(ratio < whole as f32));
            let code = floor.clamp(-half, half - 1);
            *mean = value(code, gain, step);
            word |= ((code + half) as u32) << filled;
            filled += u32::from(bits);
            while filled >= 8 {
                if let Some(byte) = rest.next() {
                    *byte = word as u8;
                }
                word >>= 8;
                filled -= 8;
            }
        }
        if let Some(byte) = rest.next() {
            *byte = word as u8;
        }
        Ok(())
    }

    /// Writes the values of a packed mean to `mean`, `[R]`: 0 for an axis that is not sent.
    ///
    /// # Errors
    /// `mean` has another length, or there are too few bytes.
    pub fn decode(
        &self,
        packed: impl IntoIterator<Item = u8>,
        mean: &mut [f32],
    ) -> Result<(), LengthError> {
        length("mean", mean.len(), self.rank())?;
        let mut packed = packed.into_iter();
        let mut taken = 0;
        let mut next = || {
            taken += 1;
            packed.next().ok_or(LengthError::Buffer {
                buffer: "packed mean",
                found: taken - 1,
                expected: self.packed,
            })
        };
        let gain = gain_of(next()?);
        let (mut word, mut filled) = (0_u32, 0);
        for ((mean, &bits), &step) in mean.iter_mut().zip(self.bits).zip(self.steps) {
            if bits == 0 {
                *mean = 0.0;
                continue;
            }
            let bits = u32::from(bits);
            if filled < bits {
                word |= u32::from(next()?) << filled;
                filled += 8;
            }
            let code = word & ((1 << bits) - 1);
            word >>= bits;
            filled -= bits;
            *mean = value(code as i32 - (1 << (bits - 1)), gain, step);
        }
        Ok(())
    }

    /// The least gain that is not below the deviation of the axes that are sent, in the deviations that their steps were fitted to.
    fn gain(&self, mean: &[f32]) -> u8 {
        let (mut sum, mut axes) = (0.0_f32, 0.0_f32);
        for ((&mean, &bits), &step) in mean.iter().zip(self.bits).zip(self.steps) {
            let unit = UNIFORM_STEPS.get(usize::from(bits).wrapping_sub(1));
            if let Some(unit) = unit {
                let ratio = mean * unit / step;
                sum += ratio * ratio;
                axes += 1.0;
            }
        }
        let square = sum / f32::max(axes, 1.0);
        // Gains ascend with their codes, and so do their squares.
        let (mut least, mut most) = (0_u8, u8::MAX);
        while least < most {
            let middle = least + (most - least) / 2;
            if gain_of(middle) * gain_of(middle) < square {
                least = middle + 1;
            } else {
                most = middle;
            }
        }
        least
    }
}

/// Bytes of a packed mean whose axes have `bits` bits together: a byte of gain before them.
pub const fn packed_mean_len(bits: usize) -> usize {
    1 + bits.div_ceil(8)
}

/// `(1 + f / 16) * 2^(e - 8)`, f being the lower and e the upper four bits: exact in float32.
fn gain_of(code: u8) -> f32 {
    let (exponent, fraction) = (code >> FRACTION, code & ((1 << FRACTION) - 1));
    // 127 is the bias of float32's exponents, 23 the bits of its fractions.
    let exponent = (i32::from(exponent) - BIAS + 127) as u32;
    f32::from_bits(exponent << 23 | u32::from(fraction) << (23 - FRACTION))
}

/// The value of a code of an axis.
fn value(code: i32, gain: f32, step: f32) -> f32 {
    (code as f32 + 0.5) * (gain * step)
}

fn length(buffer: &'static str, found: usize, expected: usize) -> Result<(), LengthError> {
    if found == expected {
        return Ok(());
    }
    Err(LengthError::Buffer {
        buffer,
        found,
        expected,
    })
}
