//! Why a device does not start.

use astra_bundle::BundleError;
use astra_wire::EmitError;

use crate::http::HttpError;
use crate::link::LinkError;
use crate::text::TextError;
use crate::worker::WorkerError;
use astra_model::engine::EngineError;

/// Why a device does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The bundle is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// ONNX Runtime was not found, or does not load.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model does not run.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The network refuses.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The model is not one of photographs.
    #[error("{bundle}: model: found one that takes text, expected one that takes pictures")]
    NoImage {
        /// The bundle.
        bundle: String,
    },
    /// The hello does not fit a message.
    #[error("hello: {0}")]
    Hello(#[from] EmitError),
    /// The bundle's tokenizer or chat template is refused.
    #[error(transparent)]
    TextService(#[from] TextError),
    /// HTTP cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Part of the program ended early.
    #[error("stopped while starting: {0}")]
    Stopped(String),
}
