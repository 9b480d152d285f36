//! The images to score on.

use std::path::PathBuf;

use astra_bundle::ImageInput;
use astra_model::tasks::image::prepare;

use crate::photographs::{PhotographError, read};
use crate::progress::{Meter, Progress};

/// Pixels of every photograph: [T, patch * patch * 3] bytes each.
///
/// # Errors
/// One of them does not read or decode.
pub fn photographs(
    paths: &[PathBuf],
    image: &ImageInput,
    progress: Progress<'_>,
) -> Result<Vec<Vec<u8>>, PhotographError> {
    let meter = Meter::new(paths.len() as u64, progress);
    let pixels = |path: &PathBuf| {
        let prepared = prepare(&read(path)?, image).map_err(PhotographError::of(path))?;
        meter.add(1);
        Ok(prepared.pixels)
    };
    paths.iter().map(pixels).collect()
}
