//! Why calibration failed.

use std::path::PathBuf;

use astra_edge::engine::EngineError;
use astra_edge::tasks::image::ImageError;
use thiserror::Error;

use crate::fit::RowsError;

/// Why calibration failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// A folder or file cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing to calibrate on.
    #[error("{}: no photographs, expected files named .jpg, .jpeg, .png or .webp", .0.display())]
    NoPhotographs(PathBuf),
    /// A file is not what its name says.
    #[error("{}: {source}", .path.display())]
    Photograph {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ImageError,
    },
    /// Inputs of another kind than the model's.
    #[error("the model takes no {0}")]
    Input(&'static str),
    /// A text without a token that a member could own.
    #[error("a text of {found} tokens, expected at least {expected}")]
    ShortText {
        /// Its tokens.
        found: usize,
        /// What is needed.
        expected: usize,
    },
    /// The model has more tokens than can be numbered.
    #[error("the model has {0} tokens, expected at most 65535")]
    TooManyTokens(usize),
    /// The model does not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A graph gave rows of another shape than the manifest's.
    #[error(transparent)]
    Rows(#[from] RowsError),
}
