//! Which tokens of a frame have codes of a second stage.

use crate::bits::packed_len;

/// The second stage of a layout: in each frame a fixed share of the tokens, those with the largest error after the first stage, has
/// codes of the residual from a second codebook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refinement {
    /// Refined tokens of a frame in 1/256 of its tokens, 1 to [`MAX_SHARE`](crate::MAX_SHARE).
    pub share: u8,
    /// Second-stage codes of a refined token.
    pub codes: u16,
    /// Bits of a second-stage code, 1 to 16.
    pub bits: u8,
}

impl Refinement {
    /// Refined tokens of a frame of `tokens` tokens: the share of them, half a token rounded up.
    #[must_use]
    pub const fn tokens(&self, tokens: u16) -> u16 {
        // At most a quarter of a u16, as the share is at most 64.
        ((tokens as u32 * self.share as u32 + 128) / 256) as u16
    }

    /// Bytes that the refined part of a frame of `tokens` tokens takes.
    pub(crate) const fn packed_len(&self, tokens: u16) -> usize {
        let refined = self.tokens(tokens) as usize;
        packed_len(refined, position_bits(tokens))
            + packed_len(refined * self.codes as usize, self.bits)
    }
}

/// Bits of a position among `tokens` tokens: their binary logarithm, rounded up.
pub(crate) const fn position_bits(tokens: u16) -> u8 {
    match tokens {
        0 => 0,
        _ => (u16::BITS - (tokens - 1).leading_zeros()) as u8,
    }
}
