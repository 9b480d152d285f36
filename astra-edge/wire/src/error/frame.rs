//! What can be wrong with the header and the refined tokens of a code frame.

use thiserror::Error;

use crate::limits::MAX_MEMBERS;
use crate::token_range::RangeError;

/// A header whose values contradict each other or exceed their bounds.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// No such member.
    #[error("sender: found {found}, expected a member below {MAX_MEMBERS}")]
    Sender {
        /// The header's.
        found: u8,
    },
    /// The frame's tokens are no range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Only a token that is alone in its frame is cut into parts.
    #[error("part: found {part} of {tokens} tokens, expected part 0, or one token")]
    Part {
        /// The part.
        part: u8,
        /// Tokens.
        tokens: u16,
    },
}

/// Refined tokens that do not ascend, or of which one is not in the frame.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("refined token: found {found}, expected {least} or above and less than {tokens}")]
pub struct PositionError {
    /// The position.
    pub found: u32,
    /// The position after the one before, 0 of the first.
    pub least: u32,
    /// Tokens of the frame.
    pub tokens: u16,
}

/// Why a header does not belong to a layout.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MismatchError {
    /// Another rung.
    #[error("rung: found {found}, expected {expected}")]
    Rung {
        /// The header's.
        found: u16,
        /// The layout's.
        expected: u16,
    },
    /// A block the rung does not have.
    #[error("block: found {found}, expected less than {blocks}")]
    Block {
        /// The header's.
        found: u8,
        /// Blocks of the rung.
        blocks: usize,
    },
    /// A part this layout does not have.
    #[error("part of a token: found {found}, expected less than {parts}")]
    Part {
        /// The header's.
        found: u8,
        /// Parts a token is cut into.
        parts: u8,
    },
    /// More tokens than a frame of this layout holds.
    #[error("tokens in one frame: found {found}, expected at most {max}")]
    Tokens {
        /// The header's.
        found: u16,
        /// Tokens that fit.
        max: u16,
    },
}
