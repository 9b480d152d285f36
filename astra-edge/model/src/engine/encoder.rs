//! A text encoder as one fused graph, for a single device.

use std::path::Path;

use ort::session::Session;
use ort::value::TensorRef;

use super::graph::open;
use super::output::read;
use super::{EngineError, Runtime};

/// A model whose output is its features.
pub struct Encoder {
    session: Session,
}

impl Encoder {
    /// Opens `whole.onnx` in `dir`.
    ///
    /// # Errors
    /// The graph is missing, is refused, or has other inputs or outputs.
    pub fn open(runtime: &Runtime, dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join("whole.onnx");
        Ok(Self {
            session: open(runtime, &path, &["ids"], &["features"])?,
        })
    }

    /// Features of all tokens after the final norm: [l, D].
    ///
    /// # Errors
    /// An id is not in the vocabulary, or ONNX Runtime fails.
    pub fn run(&mut self, ids: &[u32]) -> Result<Vec<f32>, EngineError> {
        let failed = EngineError::run("whole");
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let input = TensorRef::from_array_view(([ids.len()], ids.as_slice())).map_err(&failed)?;
        let outputs = self
            .session
            .run(ort::inputs!["ids" => input])
            .map_err(&failed)?;
        read(&outputs, "features")
    }
}
