//! Errors of a caller's buffers.

use thiserror::Error;

/// A codebook is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodebookError {
    /// A codebook needs a group.
    #[error("groups of the codebook: found none, expected at least one")]
    NoGroups,
    /// A group needs an axis.
    #[error("group {group} of the codebook: found no axes, expected at least one")]
    EmptyGroup {
        /// Index of the group.
        group: usize,
    },
    /// The number of codewords is not that of codes of 1 to 16 bits.
    #[error("codewords per group: found {found}, expected a power of two from 2 to 65536")]
    Words {
        /// Codewords per group.
        found: usize,
    },
    /// A table does not have the length that follows from the group sizes and the number of codewords.
    #[error("{table} of the codebook: found {found} numbers, expected {expected}")]
    Length {
        /// Which table: `dim_major`, `word_major` or `half_norms`.
        table: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
    /// The tables would be larger than the address space.
    #[error("codebook is larger than the address space")]
    TooLarge,
}

/// A quantizer of means is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum MeanError {
    /// There is not a step for each axis.
    #[error("steps of the mean: found {found}, expected {expected}, one an axis")]
    Steps {
        /// Steps given.
        found: usize,
        /// Axes.
        expected: usize,
    },
    /// An axis has too many bits.
    #[error("bits of axis {axis} of the mean: found {found}, expected at most 8")]
    Bits {
        /// The axis.
        axis: usize,
        /// Its bits.
        found: u8,
    },
    /// An axis that is sent has no usable step.
    #[error("step of axis {axis} of the mean: found {found}, expected a positive number")]
    Step {
        /// The axis.
        axis: usize,
        /// Its step.
        found: f32,
    },
}

/// A buffer does not fit the codebook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LengthError {
    /// A buffer does not hold a whole number of tokens.
    #[error("{buffer}: found {found} entries, expected a multiple of {per_token}")]
    PartialToken {
        /// Which buffer: `y` or `codes`.
        buffer: &'static str,
        /// Its length.
        found: usize,
        /// Entries per token.
        per_token: usize,
    },
    /// The buffers hold different numbers of tokens.
    #[error("codes: found {codes} tokens, expected {y} as in y")]
    Tokens {
        /// Tokens in `y`.
        y: usize,
        /// Tokens in `codes`.
        codes: usize,
    },
    /// The buffer of one token has the wrong length.
    #[error("y: found {found} entries, expected {expected}, one token")]
    OneToken {
        /// Length of `y`.
        found: usize,
        /// Rank of the codebook.
        expected: usize,
    },
    /// A buffer has the wrong length.
    #[error("{buffer}: found {found} entries, expected {expected}")]
    Buffer {
        /// Which buffer: `errors`, `scratch`, `positions`, `mean` or `packed mean`.
        buffer: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have; of `errors` and `positions` in a selection, the greatest it may have.
        expected: usize,
    },
    /// There are too few codes for the token.
    #[error("codes: found {found} groups, expected {expected}")]
    CodesEnded {
        /// Codes read.
        found: usize,
        /// Groups of the codebook.
        expected: usize,
    },
}
