//! The header of a code frame.

use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::FrameError;
use crate::version::{VERSION, Versions};
use crate::{MAX_MEMBERS, MAX_TOKENS};

/// Set in the second byte of every code frame and clear in that of every control message; the lower seven
/// bits are the flags.
pub(crate) const CODE_MARK: u8 = 0x80;

/// Bytes of the longest header.
pub const MAX_HEADER: usize = {
    const BYTE: usize = 1;
    // postcard's varints carry 7 bits a byte.
    const VARINT_U16: usize = 3;
    const VARINT_U32: usize = 5;
    let version_and_flags = 2 * BYTE;
    let request_and_epoch = VARINT_U32 + VARINT_U16;
    let block_and_sender = 2 * BYTE;
    let token_range = 2 * VARINT_U16;
    let part_and_rung = BYTE + VARINT_U16;
    version_and_flags + request_and_epoch + block_and_sender + token_range + part_and_rung
};

// What a frame may cost beyond its codes.
const _: () = assert!(MAX_HEADER <= 24);

/// Says what a code frame carries: which codes, of whom, for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeHeader {
    /// Request the codes belong to.
    pub request: u32,
    /// Epoch of the plan, so that frames of an older plan are told apart.
    pub epoch: u16,
    /// Block the codes are the input of.
    pub block: u8,
    /// Member that sends them, below [`MAX_MEMBERS`].
    pub sender: u8,
    /// First token in the frame.
    pub first_token: u16,
    /// Tokens in the frame, at least 1.
    pub tokens: u16,
    /// Part of the token, where a token does not fit a frame; else 0. A part other than 0 has one token.
    pub part: u8,
    /// Rung the codes are of: bits per token per block, 0 in exact mode.
    pub rung: u16,
    /// How the codes are to be read.
    pub flags: Flags,
}

/// How the codes of a frame are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Codes of the values themselves.
    pub const NONE: Self = Self(0);
    /// Codes of the difference to a prediction from the block before. A receiver whose bundle has no
    /// predictor cannot use such a frame.
    pub const PREDICTED: Self = Self(1);
    /// Every bit that has a meaning.
    pub const KNOWN: u8 = Self::PREDICTED.0;

    /// Whether the codes are of differences to a prediction.
    #[must_use]
    pub const fn is_predicted(self) -> bool {
        self.0 & Self::PREDICTED.0 != 0
    }

    /// The bits as they are on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Flags from the bits on the wire, or `None` if one of them has no meaning.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::KNOWN == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }
}

/// A header whose values contradict each other or go beyond their bounds.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// No such member.
    #[error("sender: found {found}, expected a member below {MAX_MEMBERS}")]
    Sender {
        /// The header's.
        found: u8,
    },
    /// A frame carries at least one token.
    #[error("tokens: found none, expected at least one")]
    NoTokens,
    /// The range runs past the last token there can be.
    #[error(
        "tokens: found {tokens} from token {first} on, expected to end at {MAX_TOKENS} or before"
    )]
    Range {
        /// First token.
        first: u16,
        /// Tokens.
        tokens: u16,
    },
    /// Only a token that is alone in its frame is cut into parts.
    #[error("part: found {part} of {tokens} tokens, expected part 0, or one token")]
    Part {
        /// The part.
        part: u8,
        /// Tokens.
        tokens: u16,
    },
}

/// The header in the order of its bytes.
#[derive(Serialize, Deserialize)]
struct Fields {
    version: u8,
    mark_and_flags: u8,
    request: u32,
    epoch: u16,
    block: u8,
    sender: u8,
    first_token: u16,
    tokens: u16,
    part: u8,
    rung: u16,
}

impl CodeHeader {
    /// Checks the values against each other.
    ///
    /// # Errors
    ///
    /// [`HeaderError`].
    pub fn check(&self) -> Result<(), HeaderError> {
        if usize::from(self.sender) >= MAX_MEMBERS {
            return Err(HeaderError::Sender { found: self.sender });
        }
        check_range(self.first_token, self.tokens)?;
        if self.part > 0 && self.tokens != 1 {
            return Err(HeaderError::Part {
                part: self.part,
                tokens: self.tokens,
            });
        }
        Ok(())
    }

    /// Bytes the header takes on the wire, at most [`MAX_HEADER`].
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        // Counting cannot fail; the bound would be the safe answer.
        postcard::serialize_with_flavor(&self.fields(), Size::default()).unwrap_or(MAX_HEADER)
    }

    fn fields(&self) -> Fields {
        Fields {
            version: VERSION,
            mark_and_flags: CODE_MARK | self.flags.bits(),
            request: self.request,
            epoch: self.epoch,
            block: self.block,
            sender: self.sender,
            first_token: self.first_token,
            tokens: self.tokens,
            part: self.part,
            rung: self.rung,
        }
    }

    /// Writes the header to the front of `out` and returns its length, or `None` without room.
    #[inline]
    pub(crate) fn write(&self, out: &mut [u8]) -> Option<usize> {
        postcard::to_slice(&self.fields(), out)
            .ok()
            .map(|written| written.len())
    }

    /// Reads a header and returns it with the bytes behind it.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let (&[version, mark], _) = bytes.split_first_chunk().ok_or(FrameError::Truncated)?;
        check_version(version)?;
        if mark & CODE_MARK == 0 {
            return Err(FrameError::Kind { found: mark });
        }
        let flags = Flags::from_bits(mark & !CODE_MARK).ok_or(FrameError::Flags {
            found: mark & !CODE_MARK,
        })?;
        let (fields, rest) = postcard::take_from_bytes::<Fields>(bytes)?;
        let header = Self {
            request: fields.request,
            epoch: fields.epoch,
            block: fields.block,
            sender: fields.sender,
            first_token: fields.first_token,
            tokens: fields.tokens,
            part: fields.part,
            rung: fields.rung,
            flags,
        };
        // A varint that could have been shorter.
        if header.encoded_len() != bytes.len() - rest.len() {
            return Err(FrameError::NotShortest);
        }
        header.check()?;
        Ok((header, rest))
    }
}

/// Checks the first byte of a frame or message.
#[inline]
pub(crate) fn check_version(found: u8) -> Result<(), FrameError> {
    let Versions { min, max } = Versions::OURS;
    if Versions::OURS.contains(found) {
        Ok(())
    } else {
        Err(FrameError::Version { found, min, max })
    }
}

/// Checks that a token range holds a token and ends within the tokens there can be.
#[inline]
pub(crate) fn check_range(first: u16, tokens: u16) -> Result<(), HeaderError> {
    if tokens == 0 {
        return Err(HeaderError::NoTokens);
    }
    if u32::from(first) + u32::from(tokens) > MAX_TOKENS {
        return Err(HeaderError::Range { first, tokens });
    }
    Ok(())
}
