//! Ranges of tokens: a first index and a count.

use thiserror::Error;

use crate::limits::MAX_TOKENS;

/// A range that has no tokens, or tokens that cannot exist.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RangeError {
    /// A range has at least one token.
    #[error("tokens: found none, expected at least one")]
    Empty,
    /// The range ends after the last token there can be.
    #[error(
        "tokens: found {tokens} from token {first} on, expected to end at {MAX_TOKENS} or before"
    )]
    End {
        /// First token.
        first: u16,
        /// Tokens.
        tokens: u16,
    },
}

/// Checks that a range has a token and ends at [`MAX_TOKENS`] or before.
#[inline]
pub(crate) fn check_range(first: u16, tokens: u16) -> Result<(), RangeError> {
    if tokens == 0 {
        return Err(RangeError::Empty);
    }
    if u32::from(first) + u32::from(tokens) > MAX_TOKENS {
        return Err(RangeError::End { first, tokens });
    }
    Ok(())
}
