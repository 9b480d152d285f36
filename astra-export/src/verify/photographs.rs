//! The images to score on.

use std::path::{Path, PathBuf};

use astra_bundle::ImageInput;
use astra_model::tasks::image::prepare;

use crate::photographs::{PhotographError, list, read};
use crate::progress::{Meter, Progress};

/// Pixels of every photograph in `folder`, in the order of their names: [T, patch * patch * 3] bytes each.
///
/// # Errors
/// The folder does not read or has no photographs, or one of them does not decode.
pub fn photographs(
    folder: &Path,
    image: &ImageInput,
    progress: Progress<'_>,
) -> Result<Vec<Vec<u8>>, PhotographError> {
    let paths = list(folder)?;
    let meter = Meter::new(paths.len() as u64, progress);
    let pixels = |path: &PathBuf| {
        let prepared = prepare(&read(path)?, image).map_err(PhotographError::of(path))?;
        meter.add(1);
        Ok(prepared.pixels)
    };
    paths.iter().map(pixels).collect()
}
