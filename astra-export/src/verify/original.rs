//! The ONNX file a model came from, run whole.

use std::path::{Path, PathBuf};

use astra_bundle::ImageInput;
use astra_model::engine::{EngineError, Runtime};
use astra_model::tasks::grid::{Grid, unpatch};
use ort::session::Session;
use ort::value::TensorRef;

use super::VerifyError;
use crate::family::vit::ImageScale;

/// The original, which takes one normalized image and answers with a map.
pub struct Original {
    session: Session,
    path: PathBuf,
    input: String,
    output: String,
    grid: Grid,
    scale: ImageScale,
}

impl Original {
    /// Opens the file for inputs as the bundle takes them.
    ///
    /// # Errors
    /// ONNX Runtime refuses it, or it has more than one input or output.
    pub fn open(
        runtime: &Runtime,
        path: &Path,
        image: &ImageInput,
        scale: ImageScale,
    ) -> Result<Self, VerifyError> {
        let grid = Grid::new(image)?;
        let session = runtime.session(path)?;
        let only = |what, names: Vec<&str>| match names.as_slice() {
            [name] => Ok((*name).to_owned()),
            _ => Err(VerifyError::Original {
                path: path.to_owned(),
                what,
                found: names.join(", "),
                expected: "one".to_owned(),
            }),
        };
        let inputs = session.inputs().iter().map(|side| side.name()).collect();
        let outputs = session.outputs().iter().map(|side| side.name()).collect();
        Ok(Self {
            input: only("inputs", inputs)?,
            output: only("outputs", outputs)?,
            path: path.to_owned(),
            session,
            grid,
            scale,
        })
    }

    /// The map for the pixels of all tokens, [T, patch * patch * 3] bytes, row by row.
    ///
    /// # Errors
    /// The pixels do not fit, or the original does not take images of that size.
    pub fn map(&mut self, pixels: &[u8]) -> Result<Vec<f32>, VerifyError> {
        let size = self.grid.size() as usize;
        let planes = self.planes(pixels)?;
        let failed = |source| EngineError::Graph {
            path: self.path.clone(),
            source,
        };
        let image =
            TensorRef::from_array_view(([1, 3, size, size], planes.as_slice())).map_err(failed)?;
        let outputs = self
            .session
            .run(ort::inputs![self.input.as_str() => image])
            .map_err(failed)?;
        let Some(map) = outputs.get(&self.output) else {
            return Ok(Vec::new());
        };
        let (_, values) = map.try_extract_tensor::<f32>().map_err(failed)?;
        Ok(values.to_vec())
    }

    /// Normalized, channel by channel: [1, 3, size, size].
    fn planes(&self, pixels: &[u8]) -> Result<Vec<f32>, VerifyError> {
        let square = unpatch(pixels, &self.grid)?;
        let ImageScale { mean, std } = self.scale;
        let mut planes = Vec::with_capacity(pixels.len());
        for (channel, (mean, std)) in mean.iter().zip(std).enumerate() {
            let bytes = square.as_raw().iter().skip(channel).step_by(3);
            planes.extend(bytes.map(|&byte| (f32::from(byte) / 255.0 - mean) / std));
        }
        Ok(planes)
    }
}
