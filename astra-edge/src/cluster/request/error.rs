//! Why a request has no answer.

use std::time::Duration;

use astra_bundle::BundleError;

use crate::cluster::placement::choose::PlacementError;
use crate::worker::WorkerError;
use astra_model::engine::EngineError;
use astra_model::tasks::image::ImageError;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The image cannot be decoded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The model does not support requests of this kind.
    #[error("this device's model does not {wanted}")]
    Task {
        /// What was requested.
        wanted: &'static str,
    },
    /// A text without a token.
    #[error("text: found an empty one, expected at least one token")]
    Empty,
    /// More tokens than the model takes.
    #[error("text: found {found} tokens, expected at most {most}")]
    TooLong {
        /// Tokens of the text.
        found: usize,
        /// The model's limit.
        most: usize,
    },
    /// A token that the model does not have.
    #[error("token id: found {found}, expected less than {vocab}")]
    UnknownToken {
        /// The id.
        found: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The bundle has no such rung or tensor.
    #[error(transparent)]
    Rung(#[from] BundleError),
    /// There is no placement of the tokens.
    #[error(transparent)]
    Choose(#[from] PlacementError),
    /// The model failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// This device's own part failed.
    #[error("this device's part failed: {0}")]
    Own(String),
    /// The generating device failed in the middle of the text.
    #[error("{member} generated {tokens} tokens and then failed: {text}")]
    BrokeOff {
        /// Its name.
        member: String,
        /// Tokens received before.
        tokens: usize,
        /// How it failed.
        text: String,
    },
    /// The shares received do not make an answer.
    #[error("no member's share arrived, or one does not fit its token range")]
    Nothing,
    /// The request's turn did not come before its deadline.
    #[error("not begun within {} ms: the device works on other requests", .0.as_millis())]
    Deadline(Duration),
    /// The client disconnected before the request's turn.
    #[error("not begun: the client has disconnected")]
    Gone,
    /// A task of this program ended early.
    #[error("a task of the device ended early: {0}")]
    Stopped(String),
}

impl From<EngineError> for RequestError {
    fn from(error: EngineError) -> Self {
        Self::Worker(error.into())
    }
}
