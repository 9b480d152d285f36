//! What can be wrong with a caller's buffers.

use thiserror::Error;

/// Why a codebook was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodebookError {
    /// A codebook needs a group.
    #[error("codebook has no groups")]
    NoGroups,
    /// A group needs an axis.
    #[error("group {group} of the codebook has no axes")]
    EmptyGroup {
        /// Index of the group.
        group: usize,
    },
    /// The number of codewords is not one that codes of 1 to 16 bits can name.
    #[error("codebook has {found} codewords a group, expected a power of two from 2 to 65536")]
    Words {
        /// Codewords a group.
        found: usize,
    },
    /// A table does not have the length that the group sizes and the number of codewords ask for.
    #[error("{table} of the codebook has {found} numbers, expected {expected}")]
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

/// A buffer handed to encode or decode does not fit the codebook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LengthError {
    /// A buffer does not hold a whole number of tokens.
    #[error("{buffer} has {found} entries, expected a multiple of {per_token}")]
    PartialToken {
        /// Which buffer: `y` or `codes`.
        buffer: &'static str,
        /// Its length.
        found: usize,
        /// Entries a token.
        per_token: usize,
    },
    /// The buffers hold different numbers of tokens.
    #[error("y holds {y} tokens, codes hold {codes}")]
    Tokens {
        /// Tokens in `y`.
        y: usize,
        /// Tokens in `codes`.
        codes: usize,
    },
    /// The place of one token has the wrong length.
    #[error("y has {found} entries, expected {expected}, one token")]
    OneToken {
        /// Length of `y`.
        found: usize,
        /// Rank of the codebook.
        expected: usize,
    },
    /// The codes ended before the token was whole.
    #[error("codes ended after {found} of {expected} groups")]
    CodesEnded {
        /// Codes read.
        found: usize,
        /// Groups of the codebook.
        expected: usize,
    },
}
