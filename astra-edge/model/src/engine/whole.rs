//! The model as one fused graph, for a device on its own, and the head that turns features into an answer.

use std::path::Path;

use astra_bundle::{Manifest, Task};
use ort::session::{Session, SessionOutputs};
use ort::value::TensorRef;

use super::model::open;
use super::{EngineError, Runtime};

/// What a request is answered with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Class token after the final norm: [D]; empty for models without one.
    pub cls: Vec<f32>,
    /// Patch tokens after the final norm: [T, D].
    pub patches: Vec<f32>,
    /// Dense map, for tasks that have one.
    pub map: Option<Map>,
    /// A score a class, for tasks that have them.
    pub logits: Option<Vec<f32>>,
}

/// A value a pixel of the square input.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Row by row: [height, width].
    pub values: Vec<f32>,
}

/// The whole model as one graph.
pub struct Whole {
    session: Session,
    tokens: usize,
}

impl Whole {
    /// Opens `whole.onnx` in `dir`.
    ///
    /// # Errors
    /// The graph is missing, is refused, or is of another interface.
    pub fn open(runtime: &Runtime, dir: &Path, manifest: &Manifest) -> Result<Self, EngineError> {
        let mut outputs = vec!["cls", "patches"];
        outputs.extend(head_output(&manifest.task));
        Ok(Self {
            session: open(runtime, &dir.join("whole.onnx"), &["pixels"], &outputs)?,
            tokens: manifest.shape.tokens,
        })
    }

    /// Answers for the pixels of all tokens: [T, patch * patch * 3] bytes, patch by patch.
    ///
    /// # Errors
    /// `pixels` is no whole number of bytes a token, or ONNX Runtime fails.
    pub fn run(&mut self, pixels: &[u8]) -> Result<Answer, EngineError> {
        let width = pixels.len() / self.tokens.max(1);
        EngineError::length("pixels", pixels.len(), width * self.tokens)?;
        let failed = EngineError::run("whole");
        let input = TensorRef::from_array_view(([self.tokens, width], pixels)).map_err(&failed)?;
        let outputs = self
            .session
            .run(ort::inputs!["pixels" => input])
            .map_err(&failed)?;
        let mut answer = head_answer(&outputs)?;
        answer.cls = values(&outputs, "cls")?;
        answer.patches = values(&outputs, "patches")?;
        Ok(answer)
    }
}

/// The head alone, for features that members computed.
pub struct Head {
    session: Option<Session>,
    hidden: usize,
    tokens: usize,
}

impl Head {
    /// Opens `head.onnx` in `dir`; a task whose answer is the features has none.
    ///
    /// # Errors
    /// The graph is missing, is refused, or is of another interface.
    pub fn open(runtime: &Runtime, dir: &Path, manifest: &Manifest) -> Result<Self, EngineError> {
        let session = head_output(&manifest.task)
            .map(|output| {
                open(
                    runtime,
                    &dir.join("head.onnx"),
                    &["cls", "patches"],
                    &[output],
                )
            })
            .transpose()?;
        Ok(Self {
            session,
            hidden: manifest.shape.hidden,
            tokens: manifest.shape.tokens,
        })
    }

    /// Answers for the class token, [D], and the patches, [T, D], both after the final norm.
    ///
    /// # Errors
    /// Lengths differ from these, or ONNX Runtime fails.
    pub fn run(&mut self, cls: Vec<f32>, patches: Vec<f32>) -> Result<Answer, EngineError> {
        EngineError::length("class token", cls.len(), self.hidden)?;
        EngineError::length("patch features", patches.len(), self.tokens * self.hidden)?;
        let mut answer = match &mut self.session {
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
                head_answer(&outputs)?
            }
            None => Answer::default(),
        };
        answer.cls = cls;
        answer.patches = patches;
        Ok(answer)
    }
}

fn head_output(task: &Task) -> Option<&'static str> {
    match task {
        Task::Saliency => Some("map"),
        Task::Classification { .. } => Some("logits"),
        Task::Features | Task::Generation | Task::Embedding(_) => None,
    }
}

pub(super) fn head_answer(outputs: &SessionOutputs<'_>) -> Result<Answer, EngineError> {
    let mut answer = Answer::default();
    if let Some(map) = outputs.get("map") {
        let (shape, found) = map
            .try_extract_tensor::<f32>()
            .map_err(EngineError::run("read the map"))?;
        let side = |index: usize| {
            let at = shape.len().checked_sub(index);
            at.and_then(|at| shape.get(at))
                .and_then(|&side| usize::try_from(side).ok())
                .unwrap_or(0)
        };
        let (height, width) = (side(2), side(1));
        EngineError::length("map", found.len(), height * width)?;
        answer.map = Some(Map {
            height,
            width,
            values: found.to_vec(),
        });
    }
    if outputs.contains_key("logits") {
        answer.logits = Some(values(outputs, "logits")?);
    }
    Ok(answer)
}

fn values(outputs: &SessionOutputs<'_>, name: &'static str) -> Result<Vec<f32>, EngineError> {
    let Some(value) = outputs.get(name) else {
        return Ok(Vec::new());
    };
    let (_, found) = value
        .try_extract_tensor::<f32>()
        .map_err(EngineError::run("read an output"))?;
    Ok(found.to_vec())
}
