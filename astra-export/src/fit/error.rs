//! Why a codec could not be fitted.

use astra_codec::{CodebookError, LengthError, MeanError};
use thiserror::Error;

/// Why a codec could not be fitted. Blocks are counted from 0.
#[derive(Debug, Error)]
pub enum FitError {
    /// Samples and weights do not belong to the same model.
    #[error("samples: found {samples} blocks, expected {weights} as of the weights")]
    Blocks {
        /// Blocks of samples.
        samples: usize,
        /// Blocks of weights.
        weights: usize,
    },
    /// Calibration saw nothing of a block.
    #[error("block {block}: tokens to fit on: found none, expected at least one")]
    NoTokens {
        /// The block.
        block: usize,
    },
    /// Prediction needs the same tokens of every block.
    #[error(
        "block {block}: tokens to predict: found {found}, expected the {expected} of the block before"
    )]
    OtherTokens {
        /// The block.
        block: usize,
        /// Its tokens.
        found: usize,
        /// Those of the block before.
        expected: usize,
    },
    /// A matrix or bias does not have its size.
    #[error("block {block}: {what}: found {found} values, expected {expected}")]
    Size {
        /// The block.
        block: usize,
        /// Name of the matrix or bias.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
    /// Heads cannot be shared out to K and V heads.
    #[error("block {block}: heads: found {heads}, expected a multiple of the {kv_heads} K/V heads")]
    Heads {
        /// The block.
        block: usize,
        /// Attention heads.
        heads: usize,
        /// Heads of K and V.
        kv_heads: usize,
    },
    /// A value that is no number reached the statistics.
    #[error("block {block}: {what}: found a value that is not finite, expected finite numbers")]
    NotFinite {
        /// The block.
        block: usize,
        /// Where it was met.
        what: &'static str,
    },
    /// A rung has settings for another number of blocks.
    #[error("rung of {bits} bits: found {found} blocks, expected {expected}")]
    RungBlocks {
        /// Name of the rung.
        bits: u32,
        /// Blocks it has settings for.
        found: usize,
        /// Blocks of the model.
        expected: usize,
    },
    /// A rung asks for what the model cannot give.
    #[error(
        "rung of {bits} bits: block {block}: {groups} and {refined} groups over {rank} axes of {hidden}"
    )]
    Rung {
        /// Name of the rung.
        bits: u32,
        /// The block.
        block: usize,
        /// Groups of the first stage, G.
        groups: usize,
        /// Groups of the second stage, H.
        refined: usize,
        /// Axes, R.
        rank: usize,
        /// Width of a token, D.
        hidden: usize,
    },
    /// The codec refused a codebook.
    #[error(transparent)]
    Codebook(#[from] CodebookError),
    /// The codec refused what codes the means.
    #[error(transparent)]
    Mean(#[from] MeanError),
    /// The codec refused the tokens.
    #[error(transparent)]
    Tokens(#[from] LengthError),
}
