//! Why codes cannot be laid out in frames.

use thiserror::Error;

use crate::limits::MAX_SHARE;

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
    /// Exact mode is rung 0, and no other rung is.
    #[error("rung: found {found} with codes of {bits} bits, expected 0 with 32 bits only")]
    Rung {
        /// The rung.
        found: u16,
        /// Bits of a code.
        bits: u8,
    },
    /// Second-stage codes have 1 to 16 bits.
    #[error("width of second-stage codes: found {found} bits, expected 1 to 16")]
    RefinedWidth {
        /// Bits requested.
        found: u8,
    },
    /// A refined token has at least one second-stage code.
    #[error("second-stage codes per token: found none, expected at least one")]
    NoRefinedCodes,
    /// Some tokens are refined, and at most a quarter of them.
    #[error("share of refined tokens: found {found}/256, expected 1/256 to {MAX_SHARE}/256")]
    Share {
        /// Share requested, in 1/256.
        found: u8,
    },
    /// Exact values have no mean beside them.
    #[error("mean of a frame: found {found} bytes in exact mode, expected none")]
    ExactMean {
        /// Bytes requested.
        found: u16,
    },
    /// Exact values leave no residual.
    #[error("second stage: found one in exact mode, expected none")]
    ExactRefinement,
}
