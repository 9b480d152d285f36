//! An answer drawn over its picture.

use astra_bundle::{Filter, Fit, ImageInput};
use image::RgbImage;

use super::Answered;
use crate::report::Input;
use astra_model::tasks::grid::{Grid, GridError};
use astra_model::tasks::image::{ImageError, Rect, decode};
use astra_model::tasks::picture::{Overlay, PictureError, overlay};

/// Why an answer cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// There is nothing to draw.
    #[error("the model answers no map")]
    NoMap,
    /// The picture cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The report speaks of an input that cannot be.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// Picture, map and report do not fit together.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

impl Answered {
    /// The map over the picture that was asked about, as in its file.
    ///
    /// # Errors
    /// There is no map, or it does not belong to the picture.
    pub fn overlay(&self, picture: &[u8]) -> Result<RgbImage, DrawError> {
        let map = self.map.as_ref().ok_or(DrawError::NoMap)?;
        let original = decode(picture)?;
        let Input {
            size,
            patch,
            x,
            y,
            width,
            height,
        } = self.report.input;
        let grid = Grid::new(&ImageInput {
            size,
            patch,
            fit: Fit::Pad,
            filter: Filter::default(),
            resize: None,
            map_size: None,
            head_rows: None,
        })?;
        let missing = self.report.missing.iter().map(|range| (*range).into());
        let missing: Vec<_> = missing.collect();
        Ok(overlay(&Overlay {
            original: &original,
            map: &map.values,
            map_size: [map.height, map.width],
            content: Rect {
                x,
                y,
                width,
                height,
            },
            grid,
            missing: &missing,
        })?)
    }
}
