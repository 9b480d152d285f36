//! The head of a language model, from features that members computed.

use std::path::Path;

use ort::session::Session;
use ort::value::TensorRef;

use super::graph::open;
use super::output::read;
use super::{EngineError, Runtime};

/// From features to the logits of the next token.
pub struct LanguageHead {
    session: Session,
    hidden: usize,
}

impl LanguageHead {
    /// Opens `head.onnx` in `dir` of a model `hidden` wide.
    ///
    /// # Errors
    /// The graph is missing, is refused, or has other inputs or outputs.
    pub fn open(runtime: &Runtime, dir: &Path, hidden: usize) -> Result<Self, EngineError> {
        let path = dir.join("head.onnx");
        Ok(Self {
            session: open(runtime, &path, &["features"], &["logits"])?,
            hidden,
        })
    }

    /// Logits of the token after each row of `features`, [s, D] after the final norm: [s, V].
    ///
    /// # Errors
    /// `features` is not a whole number of rows, or ONNX Runtime fails.
    pub fn run(&mut self, features: &[f32]) -> Result<Vec<f32>, EngineError> {
        let rows = features.len() / self.hidden.max(1);
        EngineError::length("features", features.len(), rows * self.hidden)?;
        let failed = EngineError::run("head");
        let input = TensorRef::from_array_view(([rows, self.hidden], features)).map_err(&failed)?;
        let outputs = self
            .session
            .run(ort::inputs!["features" => input])
            .map_err(&failed)?;
        read(&outputs, "logits")
    }
}
