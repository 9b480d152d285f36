//! What a text model needs besides its blocks: the encoder as one fused graph, and the head that scores the next token.

use std::path::Path;

use ort::session::{Session, SessionOutputs};
use ort::value::TensorRef;

use super::model::open;
use super::{EngineError, Runtime};

/// A model whose answer is its features, as one graph.
pub struct Encoder {
    session: Session,
}

impl Encoder {
    /// Opens `whole.onnx` in `dir`.
    ///
    /// # Errors
    /// The graph is missing, is refused, or is of another interface.
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
        let ids = integers(ids);
        let input = TensorRef::from_array_view(([ids.len()], ids.as_slice())).map_err(&failed)?;
        let outputs = self
            .session
            .run(ort::inputs!["ids" => input])
            .map_err(&failed)?;
        output(&outputs, "features")
    }
}

/// Features to a score for every token of the vocabulary.
pub struct LanguageHead {
    session: Session,
    hidden: usize,
}

impl LanguageHead {
    /// Opens `head.onnx` in `dir` of a model `hidden` wide.
    ///
    /// # Errors
    /// The graph is missing, is refused, or is of another interface.
    pub fn open(runtime: &Runtime, dir: &Path, hidden: usize) -> Result<Self, EngineError> {
        let path = dir.join("head.onnx");
        Ok(Self {
            session: open(runtime, &path, &["features"], &["logits"])?,
            hidden,
        })
    }

    /// Scores of the token behind each row of `features`, [s, D] after the final norm: [s, V].
    ///
    /// # Errors
    /// `features` is no whole number of rows, or ONNX Runtime fails.
    pub fn run(&mut self, features: &[f32]) -> Result<Vec<f32>, EngineError> {
        let rows = features.len() / self.hidden.max(1);
        EngineError::length("features", features.len(), rows * self.hidden)?;
        let failed = EngineError::run("head");
        let input = TensorRef::from_array_view(([rows, self.hidden], features)).map_err(&failed)?;
        let outputs = self
            .session
            .run(ort::inputs!["features" => input])
            .map_err(&failed)?;
        output(&outputs, "logits")
    }
}

pub(super) fn integers(ids: &[u32]) -> Vec<i64> {
    ids.iter().map(|&id| i64::from(id)).collect()
}

pub(super) fn output(
    outputs: &SessionOutputs<'_>,
    name: &'static str,
) -> Result<Vec<f32>, EngineError> {
    let missing = || EngineError::Length {
        what: name,
        found: 0,
        expected: 1,
    };
    let (_, values) = outputs
        .get(name)
        .ok_or_else(missing)?
        .try_extract_tensor::<f32>()
        .map_err(EngineError::run("read an output"))?;
    Ok(values.to_vec())
}
