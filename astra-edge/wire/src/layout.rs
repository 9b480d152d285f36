//! How the codes of one block are laid out in frames.

use core::ops::Range;

use crate::bits::{self, EXACT_BITS, packed_len};
use crate::error::{LayoutError, MismatchError};
use crate::header::{CodeHeader, MAX_HEADER};
use crate::limits::{MAX_BODY, MAX_SHARE};
use crate::refinement::{Refinement, position_bits};
use crate::sections::{Section, Sections};
use crate::split::Split;

/// Bytes of packed codes, positions and mean that fit a frame after the longest header.
pub const MAX_CODES: usize = MAX_BODY - MAX_HEADER;

/// How the codes that one rung has in one block become frames.
///
/// Whole tokens share a frame as long as they fit. A token too large for one (exact mode) is cut into
/// parts of nearly equal size that travel one to a frame; it has no second stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    rung: u16,
    codes_per_token: u16,
    bits: u8,
    refinement: Option<Refinement>,
    mean: u16,
    parts: u8,
    tokens_per_frame: u16,
}

/// Minimum number of tokens in a frame with a mean. In a smaller frame the mean would cost more bits than it saves; receivers
/// allocate one slot for a mean for each so many tokens.
pub const MIN_MEAN_TOKENS: u16 = 8;

// The most parts a token can have, 65,535 exact codes, must fit a u8; and so must the most tokens a u16.
const _: () = assert!(packed_len(u16::MAX as usize, EXACT_BITS).div_ceil(MAX_CODES / 4 * 4) <= 255);
const _: () = assert!(MAX_CODES * 8 <= u16::MAX as usize);

impl Layout {
    /// The layout of tokens of `codes_per_token` codes of `bits` bits each, in one block of the rung of that name; 32 bits is exact
    /// mode, rung 0, with one code a channel. `refinement` is dropped where a token does not fit a frame.
    ///
    /// # Errors
    ///
    /// [`LayoutError`].
    pub const fn new(
        rung: u16,
        codes_per_token: u16,
        bits: u8,
        refinement: Option<Refinement>,
    ) -> Result<Self, LayoutError> {
        if !bits::is_width(bits) {
            return Err(LayoutError::Width { found: bits });
        }
        if codes_per_token == 0 {
            return Err(LayoutError::NoCodes);
        }
        if (rung == 0) != (bits == EXACT_BITS) {
            return Err(LayoutError::Rung { found: rung, bits });
        }
        if let Err(error) = check_refinement(&refinement, bits) {
            return Err(error);
        }
        let codes_per_frame = MAX_CODES * 8 / bits as usize;
        let parts = (codes_per_token as usize).div_ceil(codes_per_frame);
        // The parts are not cut short: see the assertions above.
        let layout = Self {
            rung,
            codes_per_token,
            bits,
            refinement: if parts > 1 { None } else { refinement },
            mean: 0,
            parts: parts as u8,
            tokens_per_frame: 1,
        };
        Ok(layout.filled())
    }

    /// The same with a mean of that many bytes in each frame of at least [`MIN_MEAN_TOKENS`] tokens; 0 for none.
    ///
    /// # Errors
    ///
    /// [`LayoutError::ExactMean`].
    pub const fn with_mean(self, bytes: u16) -> Result<Self, LayoutError> {
        if self.is_exact() && bytes > 0 {
            return Err(LayoutError::ExactMean { found: bytes });
        }
        Ok(Self {
            mean: bytes,
            ..self
        }
        .filled())
    }

    /// With as many tokens a frame as fit.
    const fn filled(self) -> Self {
        let codes_per_frame = MAX_CODES * 8 / self.bits as usize;
        Self {
            tokens_per_frame: self.most_tokens(codes_per_frame),
            ..self
        }
    }

    /// Most tokens whose codes, positions and mean fit a frame, by bisection: more tokens take no fewer bytes. One token fits, because
    /// one that is alone is not refined and has no mean.
    const fn most_tokens(&self, codes_per_frame: usize) -> u16 {
        if self.parts > 1 {
            return 1;
        }
        // Not cut short: see the assertions above.
        let (mut fits, mut most) = (1, (codes_per_frame / self.codes_per_token as usize) as u16);
        while fits < most {
            let middle = most - (most - fits) / 2;
            if self.packed_len(middle) <= MAX_CODES {
                fits = middle;
            } else {
                most = middle - 1;
            }
        }
        fits
    }

    /// Bytes after the header of a frame of whole tokens.
    const fn packed_len(&self, tokens: u16) -> usize {
        let first = packed_len(tokens as usize * self.codes_per_token as usize, self.bits);
        let second = match &self.refinement {
            Some(refinement) => refinement.packed_len(tokens),
            None => 0,
        };
        first + second + self.mean_len(tokens)
    }

    /// Bytes of codes, positions and mean in a frame of `tokens` tokens, at most [`tokens_per_frame`](Self::tokens_per_frame), or of a
    /// part of one: all after its header.
    #[must_use]
    pub fn body_len(&self, tokens: u16, part: u8) -> usize {
        match self.parts {
            1 => self.packed_len(tokens),
            _ => packed_len(self.codes_in_part(part), self.bits),
        }
    }

    /// First-stage codes of one token; in exact mode its channels.
    #[must_use]
    pub const fn codes_per_token(&self) -> u16 {
        self.codes_per_token
    }

    /// Bits of one first-stage code; 32 in exact mode.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// The second stage, if there is one.
    #[must_use]
    pub const fn refinement(&self) -> Option<Refinement> {
        self.refinement
    }

    /// Bytes of a frame's mean, where a frame has one.
    #[must_use]
    pub const fn mean(&self) -> u16 {
        self.mean
    }

    /// Bytes of the mean in a frame of `tokens` tokens.
    #[must_use]
    pub const fn mean_len(&self, tokens: u16) -> usize {
        if tokens < MIN_MEAN_TOKENS {
            return 0;
        }
        self.mean as usize
    }

    /// Whether `f32` values travel instead of codes.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.bits == EXACT_BITS
    }

    /// Name of the rung, 0 in exact mode.
    #[must_use]
    pub const fn rung(&self) -> u16 {
        self.rung
    }

    /// Most tokens in one frame, at least 1.
    #[must_use]
    pub const fn tokens_per_frame(&self) -> u16 {
        self.tokens_per_frame
    }

    /// Refined tokens of a frame of `tokens` tokens, fewer than there are tokens.
    #[must_use]
    pub const fn refined(&self, tokens: u16) -> u16 {
        match &self.refinement {
            Some(refinement) => refinement.tokens(tokens),
            None => 0,
        }
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

    /// First-stage codes of a token in the given part; 0 beyond the last part.
    #[must_use]
    pub fn codes_in_part(&self, part: u8) -> usize {
        self.part_range(part).map_or(0, |range| range.len())
    }

    /// Frames that `tokens` tokens take.
    #[must_use]
    pub const fn frames(&self, tokens: u16) -> u32 {
        self.ranges(tokens) * self.parts as u32
    }

    /// Ranges of tokens that travel together, of `tokens` tokens.
    pub(crate) const fn ranges(&self, tokens: u16) -> u32 {
        tokens.div_ceil(self.tokens_per_frame) as u32
    }

    /// The tokens of each frame, where `tokens` tokens are sent, the first being 0: as many in each frame as in any other, or one
    /// less. A token that is cut into parts is one range.
    #[must_use]
    pub const fn split(&self, tokens: u16) -> Split {
        Split::new(tokens, self.ranges(tokens))
    }

    /// Bytes of codes, positions and means in the frames of `tokens` tokens: all but the headers.
    #[must_use]
    pub fn packed_bytes(&self, tokens: u16) -> u64 {
        if self.parts > 1 {
            let parts = (0..self.parts).map(|part| self.body_len(1, part) as u64);
            return u64::from(tokens) * parts.sum::<u64>();
        }
        let (larger, smaller) = self.split(tokens).sizes();
        let bytes = |(frames, tokens)| u64::from(frames) * self.packed_len(tokens) as u64;
        bytes(larger) + bytes(smaller)
    }

    /// Refined tokens of all frames of `tokens` tokens.
    #[must_use]
    pub fn refined_of_all(&self, tokens: u16) -> usize {
        let (larger, smaller) = self.split(tokens).sizes();
        let refined = |(frames, tokens)| frames as usize * usize::from(self.refined(tokens));
        refined(larger) + refined(smaller)
    }

    /// Bytes of the means in all frames of `tokens` tokens.
    #[must_use]
    pub fn means_of_all(&self, tokens: u16) -> usize {
        let (larger, smaller) = self.split(tokens).sizes();
        let bytes = |(frames, tokens)| frames as usize * self.mean_len(tokens);
        bytes(larger) + bytes(smaller)
    }

    /// First-stage codes that a frame with this header carries.
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

    /// What a frame with this header carries.
    #[inline]
    pub(crate) fn sections(&self, header: &CodeHeader) -> Result<Sections, MismatchError> {
        let first = Section {
            count: self.codes_in_frame(header)?,
            bits: self.bits,
        };
        let refined = usize::from(self.refined(header.tokens));
        let (positions, second) = match &self.refinement {
            Some(refinement) if refined > 0 => (
                Section {
                    count: refined,
                    bits: position_bits(header.tokens),
                },
                Section {
                    count: refined * usize::from(refinement.codes),
                    bits: refinement.bits,
                },
            ),
            _ => (Section::EMPTY, Section::EMPTY),
        };
        Ok(Sections {
            first,
            positions,
            second,
            mean: self.mean_len(header.tokens),
        })
    }

    /// Where the first-stage codes of a frame lie in an array of the whole request's codes, token by token from
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

const fn check_refinement(refinement: &Option<Refinement>, bits: u8) -> Result<(), LayoutError> {
    let Some(refinement) = refinement else {
        return Ok(());
    };
    if bits == EXACT_BITS {
        return Err(LayoutError::ExactRefinement);
    }
    if refinement.share == 0 || refinement.share > MAX_SHARE {
        return Err(LayoutError::Share {
            found: refinement.share,
        });
    }
    if refinement.codes == 0 {
        return Err(LayoutError::NoRefinedCodes);
    }
    if refinement.bits == 0 || refinement.bits > 16 {
        return Err(LayoutError::RefinedWidth {
            found: refinement.bits,
        });
    }
    Ok(())
}
