//! How close a bundle comes to what it was made from.
//!
//! - [`photographs`]: the images to score on
//! - [`Original`]: the ONNX file the model came from, run whole
//! - [`measure`]: every rung, and exact mode, at several numbers of devices against the one-device answer
//! - [`measure_texts`]: the same for models that read
//! - [`Interval`]: how far the mean of what was measured can be from that of all inputs
//! - [`beaten`]: rungs that one of fewer bits is better than
//!
//! Members run in lock step in one process: what is measured is the codec, not a network.

mod beaten;
mod interval;
mod original;
mod photographs;
mod row;
mod score;
mod texts;

use std::path::PathBuf;

pub use beaten::{Beaten, beaten};
pub use interval::Interval;
pub use original::Original;
pub use photographs::photographs;
pub use row::{Division, LostFrames, Row, rungs};
pub use score::{measure, one_device};
pub use texts::measure_texts;

use astra_bundle::BundleError;
use astra_model::engine::EngineError;
use astra_model::partition::PartitionError;
use astra_model::tasks::grid::GridError;

use crate::photographs::PhotographError;

/// Why a bundle could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The bundle does not read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A step of the model failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The tokens cannot be divided among this number of devices.
    #[error(transparent)]
    Plan(#[from] PartitionError),
    /// The bundle's input is impossible.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// No photographs to score on.
    #[error(transparent)]
    Photographs(#[from] PhotographError),
    /// A bundle whose input is no image.
    #[error("the bundle's input is no image, which is what is scored on here")]
    NotOfImages,
    /// A bundle whose input is no text.
    #[error(
        "the bundle is not of a model that writes or embeds text, which is what is scored on here"
    )]
    NotOfTexts,
    /// No text is long enough.
    #[error("no text is long enough to be divided among the devices")]
    NoTexts,
    /// An original of another kind.
    #[error("{}: {what}: found {found}, expected {expected}", .path.display())]
    Original {
        /// The ONNX file.
        path: PathBuf,
        /// Which of its sides.
        what: &'static str,
        /// What it has.
        found: String,
        /// What is compared.
        expected: String,
    },
}
