//! How the codes of a rung are laid out in frames.

use core::ops::Range;

use thiserror::Error;

use crate::bits::{self, EXACT_BITS, packed_len};
use crate::error::MismatchError;
use crate::header::{CodeHeader, MAX_HEADER};
use crate::limits::MAX_BODY;

/// Bytes of packed codes that fit a frame after the longest header.
pub const MAX_CODES: usize = MAX_BODY - MAX_HEADER;

/// How one rung's codes become frames.
///
/// Whole tokens share a frame as long as they fit. A token too large for one (exact mode) is cut into
/// parts of nearly equal size that travel one to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    codes_per_token: u16,
    bits: u8,
    parts: u8,
    tokens_per_frame: u16,
}

/// Why codes cannot be laid out like this.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// Codes have 1 to 16 bits, or 32 in exact mode.
    #[error("width of codes: found {found} bits, expected 1 to 16, or 32 in exact mode")]
    Width {
        /// Bits requested.
        found: u8,
    },
    /// A token has at least one code.
    #[error("codes per token: found none, expected at least one")]
    NoCodes,
    /// A rung is named by its bits per token, as a `u16`.
    #[error("bits per token: found {found}, expected at most 65535")]
    Rung {
        /// Codes per token times bits.
        found: u32,
    },
}

// The most parts a token can have, 65,535 exact codes, must fit a u8; and so must the most tokens a u16.
const _: () = assert!(packed_len(u16::MAX as usize, EXACT_BITS).div_ceil(MAX_CODES / 4 * 4) <= 255);
const _: () = assert!(MAX_CODES * 8 <= u16::MAX as usize);

impl Layout {
    /// The layout of tokens of `codes_per_token` codes of `bits` bits each; 32 bits is exact mode, with
    /// one code a channel.
    ///
    /// # Errors
    ///
    /// [`LayoutError`].
    pub const fn new(codes_per_token: u16, bits: u8) -> Result<Self, LayoutError> {
        if !bits::is_width(bits) {
            return Err(LayoutError::Width { found: bits });
        }
        if codes_per_token == 0 {
            return Err(LayoutError::NoCodes);
        }
        let token_bits = codes_per_token as u32 * bits as u32;
        if bits != EXACT_BITS && token_bits > u16::MAX as u32 {
            return Err(LayoutError::Rung { found: token_bits });
        }
        let codes_per_frame = MAX_CODES * 8 / bits as usize;
        let parts = (codes_per_token as usize).div_ceil(codes_per_frame);
        let tokens_per_frame = if parts > 1 {
            1
        } else {
            codes_per_frame / codes_per_token as usize
        };
        // Neither is cut short: see the assertions above.
        Ok(Self {
            codes_per_token,
            bits,
            parts: parts as u8,
            tokens_per_frame: tokens_per_frame as u16,
        })
    }

    /// Codes of one token; in exact mode its channels.
    #[must_use]
    pub const fn codes_per_token(&self) -> u16 {
        self.codes_per_token
    }

    /// Bits of one code; 32 in exact mode.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether `f32` values travel instead of codes.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.bits == EXACT_BITS
    }

    /// Name of the rung: bits per token per block, 0 in exact mode.
    #[must_use]
    pub const fn rung(&self) -> u16 {
        if self.is_exact() {
            0
        } else {
            self.codes_per_token * self.bits as u16
        }
    }

    /// Most tokens in one frame, at least 1.
    #[must_use]
    pub const fn tokens_per_frame(&self) -> u16 {
        self.tokens_per_frame
    }

    /// Frames one token is spread over: 1 unless it does not fit a frame.
    #[must_use]
    pub const fn parts(&self) -> u8 {
        self.parts
    }

    /// Where the codes of a part lie among the codes of its token, or `None` beyond the last part.
    #[must_use]
    pub fn part_range(&self, part: u8) -> Option<Range<usize>> {
        if part >= self.parts {
            return None;
        }
        // The first `extra` parts carry one code more.
        let (codes, parts) = (usize::from(self.codes_per_token), usize::from(self.parts));
        let (part, each, extra) = (usize::from(part), codes / parts, codes % parts);
        let start = part * each + part.min(extra);
        Some(start..start + each + usize::from(part < extra))
    }

    /// Codes of a token in the given part; 0 beyond the last part.
    #[must_use]
    pub fn codes_in_part(&self, part: u8) -> usize {
        self.part_range(part).map_or(0, |range| range.len())
    }

    /// Frames that `tokens` tokens take.
    #[must_use]
    pub const fn frames(&self, tokens: u16) -> u32 {
        if self.parts > 1 {
            tokens as u32 * self.parts as u32
        } else {
            tokens.div_ceil(self.tokens_per_frame) as u32
        }
    }

    /// Codes a frame with this header carries.
    ///
    /// # Errors
    ///
    /// [`MismatchError`] if the header does not belong to this layout.
    #[inline]
    pub fn codes_in_frame(&self, header: &CodeHeader) -> Result<usize, MismatchError> {
        if header.rung != self.rung() {
            return Err(MismatchError::Rung {
                found: header.rung,
                expected: self.rung(),
            });
        }
        if header.part >= self.parts {
            return Err(MismatchError::Part {
                found: header.part,
                parts: self.parts,
            });
        }
        if header.tokens > self.tokens_per_frame {
            return Err(MismatchError::Tokens {
                found: header.tokens,
                max: self.tokens_per_frame,
            });
        }
        Ok(usize::from(header.tokens) * self.codes_in_part(header.part))
    }

    /// Where the codes of a frame lie in an array of the whole request's codes, token by token from
    /// token 0.
    ///
    /// # Errors
    ///
    /// [`MismatchError`] if the header does not belong to this layout.
    pub fn span(&self, header: &CodeHeader) -> Result<Range<usize>, MismatchError> {
        let codes = self.codes_in_frame(header)?;
        let token = usize::from(header.first_token) * usize::from(self.codes_per_token);
        let start = token + self.part_range(header.part).map_or(0, |part| part.start);
        Ok(start..start + codes)
    }
}
