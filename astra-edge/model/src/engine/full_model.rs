//! An image model as one fused graph, for a single device.

use std::path::Path;

use astra_bundle::Manifest;
use ort::session::Session;
use ort::value::TensorRef;

use super::graph::open;
use super::output::{head_output, read, read_head};
use super::{EngineError, ModelOutput, Runtime};

/// The full model, from pixels to its output.
pub struct FullModel {
    session: Session,
    tokens: usize,
}

impl FullModel {
    /// Opens `whole.onnx` in `dir`.
    ///
    /// # Errors
    /// The graph is missing, is refused, or has other inputs or outputs.
    pub fn open(runtime: &Runtime, dir: &Path, manifest: &Manifest) -> Result<Self, EngineError> {
        let mut outputs = vec!["cls", "patches"];
        outputs.extend(head_output(&manifest.task));
        Ok(Self {
            session: open(runtime, &dir.join("whole.onnx"), &["pixels"], &outputs)?,
            tokens: manifest.shape.tokens,
        })
    }

    /// Output for the pixels of all tokens: [T, patch * patch * 3] bytes, patch by patch.
    ///
    /// # Errors
    /// `pixels` is not the same number of bytes for each token, or ONNX Runtime fails.
    pub fn run(&mut self, pixels: &[u8]) -> Result<ModelOutput, EngineError> {
        let width = pixels.len() / self.tokens.max(1);
        EngineError::length("pixels", pixels.len(), width * self.tokens)?;
        let failed = EngineError::run("whole");
        let input = TensorRef::from_array_view(([self.tokens, width], pixels)).map_err(&failed)?;
        let outputs = self
            .session
            .run(ort::inputs!["pixels" => input])
            .map_err(&failed)?;
        Ok(ModelOutput {
            cls: read(&outputs, "cls")?,
            patches: read(&outputs, "patches")?,
            ..read_head(&outputs)?
        })
    }
}
