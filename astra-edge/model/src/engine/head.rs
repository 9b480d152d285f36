//! The head of an image model on one device, from features that members computed.

use std::path::Path;

use astra_bundle::Manifest;
use ort::session::Session;
use ort::value::TensorRef;

use super::graph::open;
use super::output::{head_output, read_head};
use super::{EngineError, ModelOutput, Runtime};

/// From features to the model's output.
pub struct Head {
    session: Option<Session>,
    hidden: usize,
    tokens: usize,
}

impl Head {
    /// Opens `head.onnx` in `dir`; a task whose output is the features has none.
    ///
    /// # Errors
    /// The graph is missing, is refused, or has other inputs or outputs.
    pub fn open(runtime: &Runtime, dir: &Path, manifest: &Manifest) -> Result<Self, EngineError> {
        let path = dir.join("head.onnx");
        let session = head_output(&manifest.task)
            .map(|output| open(runtime, &path, &["cls", "patches"], &[output]))
            .transpose()?;
        Ok(Self {
            session,
            hidden: manifest.shape.hidden,
            tokens: manifest.shape.tokens,
        })
    }

    /// Output for the class token, `[D]`, and the patches, `[T, D]`, both after the final norm.
    ///
    /// # Errors
    /// Lengths differ from these, or ONNX Runtime fails.
    pub fn run(&mut self, cls: Vec<f32>, patches: Vec<f32>) -> Result<ModelOutput, EngineError> {
        EngineError::length("class token", cls.len(), self.hidden)?;
        EngineError::length("patch features", patches.len(), self.tokens * self.hidden)?;
        let output = match &mut self.session {
            Some(session) => {
                let failed = EngineError::run("head");
                let class = TensorRef::from_array_view(([1, self.hidden], cls.as_slice()))
                    .map_err(&failed)?;
                let rows =
                    TensorRef::from_array_view(([self.tokens, self.hidden], patches.as_slice()))
                        .map_err(&failed)?;
                let outputs = session
                    .run(ort::inputs!["cls" => class, "patches" => rows])
                    .map_err(&failed)?;
                read_head(&outputs)?
            }
            None => ModelOutput::default(),
        };
        Ok(ModelOutput {
            cls,
            patches,
            ..output
        })
    }
}
