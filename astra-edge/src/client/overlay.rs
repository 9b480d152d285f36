//! Draws the map of a response over its picture.

use astra_bundle::{Filter, Fit, ImageInput};
use image::RgbImage;

use super::response::Response;
use crate::report::Input;
use astra_model::tasks::grid::{Grid, GridError};
use astra_model::tasks::image::{ImageError, Rect, decode};
use astra_model::tasks::overlay::{DrawError, Overlay, draw};

/// Why a map cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// There is no map.
    #[error("map: found a model without one, expected one that makes maps")]
    NoMap,
    /// The picture cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The report describes an impossible input.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// Picture, map and report do not fit together.
    #[error(transparent)]
    Draw(#[from] DrawError),
}

impl Response {
    /// The map over the picture of the request, whose file `picture` is.
    ///
    /// # Errors
    /// There is no map, or it does not belong to the picture.
    pub fn overlay(&self, picture: &[u8]) -> Result<RgbImage, OverlayError> {
        let map = self.map.as_ref().ok_or(OverlayError::NoMap)?;
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
        Ok(draw(&Overlay {
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
