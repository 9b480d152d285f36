//! Why calibration failed.

use astra_model::engine::EngineError;
use thiserror::Error;

use crate::fit::RowsError;
use crate::photographs::PhotographError;

/// Why calibration failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// No photographs to calibrate on.
    #[error(transparent)]
    Photographs(#[from] PhotographError),
    /// Inputs of another kind than the model's.
    #[error("the model takes no {0}")]
    Input(&'static str),
    /// A text without a token that a member could own.
    #[error("text: found {found} tokens, expected at least {expected}")]
    ShortText {
        /// Its tokens.
        found: usize,
        /// What is needed.
        expected: usize,
    },
    /// The model has more tokens than can be numbered.
    #[error("tokens of the model: found {0}, expected at most 65535")]
    TooManyTokens(usize),
    /// The model does not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A graph gave rows of another shape than the manifest's.
    #[error(transparent)]
    Rows(#[from] RowsError),
}
