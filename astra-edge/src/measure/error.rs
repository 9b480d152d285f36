//! Why a device cannot be measured.

use crate::link::LinkError;
use astra_model::engine::EngineError;
use astra_model::tasks::features::FeatureError;
use astra_model::tasks::strip::StripError;

/// Why a device cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A step failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The codec does not take its own codes.
    #[error(transparent)]
    Code(#[from] astra_codec::LengthError),
    /// Pixels that cannot be compressed.
    #[error(transparent)]
    Strip(#[from] StripError),
    /// Features that cannot be packed.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The link to this machine itself failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The link lost messages, or the kernel does not count processor time.
    #[error("the link to this machine itself: {0}")]
    Frames(String),
    /// A model without the steps that are predicted.
    #[error(
        "model: found one that makes vectors of texts, expected one that takes pictures or generates text"
    )]
    Task,
}
