//! Why a bundle could not be tuned.

use std::path::{Path, PathBuf};

use astra_bundle::BundleError;
use astra_model::engine::{EngineError, TableError};
use astra_model::partition::PartitionError;

use crate::photographs::PhotographError;
use crate::verify::VerifyError;

/// Why a bundle could not be tuned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// The bundle does not read, or the new one cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A photograph does not read.
    #[error(transparent)]
    Photograph(#[from] PhotographError),
    /// ONNX Runtime fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Agreement cannot be measured.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Tokens cannot be divided.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// A codebook's parts do not fit together.
    #[error("codebook of block {block}: {source}")]
    Codebook {
        /// The block.
        block: usize,
        /// What does not fit.
        source: TableError,
    },
    /// A step of the training cannot be computed.
    #[error("training step: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A file contradicts what it is used for.
    #[error("{}: {what}: found {found}, expected {expected}", .path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What of it.
        what: String,
        /// What is there.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A file cannot be read or written.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        action: &'static str,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Too few inputs.
    #[error("{}: found {found} {what}, expected at least {expected}: some to train on and others to measure on", .path.display())]
    TooFew {
        /// Folder or file.
        path: PathBuf,
        /// Photographs or windows of text.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many would do.
        expected: usize,
    },
    /// The loss is not a number any more.
    #[error(
        "rung {bits}, step {step}: loss: found {loss}, expected a finite number; a lower --rate may do"
    )]
    Diverged {
        /// The rung.
        bits: u32,
        /// The step.
        step: usize,
        /// The loss.
        loss: f64,
    },
}

impl TuneError {
    pub(super) fn mismatch(
        path: &Path,
        what: impl Into<String>,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        Self::Mismatch {
            path: path.to_owned(),
            what: what.into(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }

    /// For `map_err`.
    pub(super) fn codebook(block: usize) -> impl Fn(TableError) -> Self {
        move |source| Self::Codebook { block, source }
    }
}
