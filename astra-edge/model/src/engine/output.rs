//! The output of a model for an image, and how it is read from a session's outputs.

use astra_bundle::Task;
use ort::session::SessionOutputs;

use super::EngineError;

/// Output of a model for one input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelOutput {
    /// Class token after the final norm: `[D]`; empty for models without one.
    pub cls: Vec<f32>,
    /// Patch tokens after the final norm: [T, D].
    pub patches: Vec<f32>,
    /// Dense map, for tasks that have one.
    pub map: Option<Map>,
    /// A logit for each class, for tasks that have them.
    pub logits: Option<Vec<f32>>,
}

/// A value for each pixel of the square input.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Row by row: [height, width].
    pub values: Vec<f32>,
}

/// Name of the head's output, for tasks that have a head.
pub(super) fn head_output(task: &Task) -> Option<&'static str> {
    match task {
        Task::Saliency => Some("map"),
        Task::Classification { .. } => Some("logits"),
        Task::Features | Task::Generation | Task::Embedding(_) => None,
    }
}

/// Outputs of the head; class token and patches are left empty.
pub(super) fn read_head(outputs: &SessionOutputs<'_>) -> Result<ModelOutput, EngineError> {
    let mut output = ModelOutput::default();
    if let Some(map) = outputs.get("map") {
        let (shape, found) = map
            .try_extract_tensor::<f32>()
            .map_err(EngineError::run("read the map"))?;
        let [.., height, width] = **shape else {
            return Err(EngineError::Length {
                what: "dimensions of the map",
                found: shape.len(),
                expected: 2,
            });
        };
        // ONNX Runtime reports no negative dimension of a tensor that it computed.
        let (height, width) = (
            height.unsigned_abs() as usize,
            width.unsigned_abs() as usize,
        );
        EngineError::length("map", found.len(), height * width)?;
        output.map = Some(Map {
            height,
            width,
            values: found.to_vec(),
        });
    }
    if outputs.contains_key("logits") {
        output.logits = Some(read(outputs, "logits")?);
    }
    Ok(output)
}

/// The values of a float32 output.
pub(super) fn read(
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
