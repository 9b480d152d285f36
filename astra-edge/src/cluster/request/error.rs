//! Why a question has no answer.

use std::time::Duration;

use astra_bundle::BundleError;

use crate::cluster::placement::choose::PlacementError;
use crate::worker::WorkerError;
use astra_model::engine::EngineError;
use astra_model::tasks::image::ImageError;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// What was sent is no picture that can be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A question of another kind than the model answers.
    #[error("this device's model does not {wanted}")]
    Task {
        /// What was asked of it.
        wanted: &'static str,
    },
    /// A text without a token.
    #[error("text: found an empty one, expected at least one token")]
    Empty,
    /// More tokens than the model takes.
    #[error("text: found {found} tokens, expected at most {most}")]
    TooLong {
        /// Tokens there are.
        found: usize,
        /// Tokens there may be.
        most: usize,
    },
    /// A token that the model does not have.
    #[error("token id: found {found}, expected less than {vocab}")]
    UnknownToken {
        /// Its id.
        found: u32,
        /// Tokens there are.
        vocab: usize,
    },
    /// The bundle has no such rung or tensor.
    #[error(transparent)]
    Rung(#[from] BundleError),
    /// The tokens cannot be divided as asked.
    #[error(transparent)]
    Choose(#[from] PlacementError),
    /// The model failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// This device's own part failed.
    #[error("this device's part failed: {0}")]
    Own(String),
    /// The device that generates failed, and the text breaks off.
    #[error("{member} generated {tokens} tokens and then failed: {text}")]
    BrokeOff {
        /// The device.
        member: String,
        /// Tokens that came.
        tokens: usize,
        /// Its word, or what is known.
        text: String,
    },
    /// Shares that do not make up an answer.
    #[error("no member's share came, or one was not of its range")]
    Nothing,
    /// The device never got to it.
    #[error("not begun within {} ms: the device works on other requests", .0.as_millis())]
    Deadline(Duration),
    /// Whoever asked has gone before it was worked on.
    #[error("not begun: whoever asked has gone")]
    Gone,
    /// Part of the program ended early.
    #[error("stopped in the middle: {0}")]
    Stopped(String),
}

impl From<EngineError> for RequestError {
    fn from(error: EngineError) -> Self {
        Self::Worker(error.into())
    }
}
