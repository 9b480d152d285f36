//! A head that members compute together: each the scores of its rows of patches, the coordinator the output from all scores.

use std::path::Path;

use astra_bundle::{HeadRows, Manifest};
use ort::session::Session;
use ort::value::TensorRef;

use super::graph::open;
use super::output::{read, read_head};
use super::{EngineError, ModelOutput, Runtime};

/// The two graphs of such a head.
pub struct DistributedHead {
    rows: Session,
    finish: Session,
    sizes: Sizes,
}

#[derive(Clone, Copy)]
struct Sizes {
    hidden: usize,
    /// Rows of patches, and columns.
    side: usize,
    rows: HeadRows,
}

impl DistributedHead {
    /// Opens `head_rows.onnx` and `head_finish.onnx` in `dir`; `None` where the head cannot be divided by rows.
    ///
    /// # Errors
    /// A graph is missing, is refused, or has other inputs or outputs.
    pub fn open(
        runtime: &Runtime,
        dir: &Path,
        manifest: &Manifest,
    ) -> Result<Option<Self>, EngineError> {
        let Some((image, rows)) = manifest
            .image
            .and_then(|image| Some((image, image.head_rows?)))
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            rows: open(
                runtime,
                &dir.join("head_rows.onnx"),
                &["patches", "above", "below"],
                &["scores"],
            )?,
            finish: open(
                runtime,
                &dir.join("head_finish.onnx"),
                &["scores"],
                &["map"],
            )?,
            sizes: Sizes {
                hidden: manifest.shape.hidden,
                side: image.size / image.patch.max(1),
                rows,
            },
        }))
    }

    /// Scores of whole rows of patches after the final norm, `[r * side, D]`: `[(r - halos) * scale, side * scale]`. `halos` says
    /// whether the first rows, and the last, are a halo, which is read but not scored.
    ///
    /// # Errors
    /// Not a whole number of rows, no rows but the halos, or ONNX Runtime fails.
    pub fn scores(
        &mut self,
        patches: &[f32],
        [above, below]: [bool; 2],
    ) -> Result<Vec<f32>, EngineError> {
        let Sizes { hidden, side, rows } = self.sizes;
        let given = patches.len() / (hidden * side).max(1);
        let halos = (usize::from(above) + usize::from(below)) * rows.halo;
        let expected = given.max(halos + 1) * hidden * side;
        EngineError::length("rows of patches", patches.len(), expected)?;
        let failed = EngineError::run("head_rows");
        let patches =
            TensorRef::from_array_view(([given * side, hidden], patches)).map_err(&failed)?;
        let [above, below] = [above, below].map(|has_halo| [i64::from(has_halo)]);
        let above = TensorRef::from_array_view(([1], above.as_slice())).map_err(&failed)?;
        let below = TensorRef::from_array_view(([1], below.as_slice())).map_err(&failed)?;
        let inputs = ort::inputs!["patches" => patches, "above" => above, "below" => below];
        let outputs = self.rows.run(inputs).map_err(&failed)?;
        let scores = read(&outputs, "scores")?;
        let expected = (given - halos) * side * rows.scale * rows.scale;
        EngineError::length("scores", scores.len(), expected)?;
        Ok(scores)
    }

    /// Output for the scores of all rows, `[side * scale, side * scale]`, without features.
    ///
    /// # Errors
    /// Another number of scores, or ONNX Runtime fails.
    pub fn finish(&mut self, scores: &[f32]) -> Result<ModelOutput, EngineError> {
        let columns = self.sizes.side * self.sizes.rows.scale;
        EngineError::length("scores", scores.len(), columns * columns)?;
        let failed = EngineError::run("head_finish");
        let scores = TensorRef::from_array_view(([columns, columns], scores)).map_err(&failed)?;
        let outputs = self
            .finish
            .run(ort::inputs!["scores" => scores])
            .map_err(&failed)?;
        read_head(&outputs)
    }
}
