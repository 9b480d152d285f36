//! What a model's blocks see of photographs: the tokens that the codec is fitted to.
//!
//! - `views`: photographs of a folder, whole, and as crops and mirror images of themselves
//! - `attention`: how much attention a token gets, and so what an error in it is worth
//! - `tokens`: the model run on a view by one device, and the tokens taken from it

mod attention;
mod error;
mod tokens;
mod views;

use std::path::Path;

use astra_bundle::{ImageInput, Shape};
use astra_edge::engine::Runtime;

pub use error::CalibrateError;

use crate::fit::BlockSamples;
use crate::progress::{Meter, Progress};
use tokens::Sampler;
use views::Folder;

/// Tokens taken of each block at most: 96 images at 256 tokens each calibrate as well as 600 do.
const TOKENS: usize = 96 * 256;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// Sampled tokens of each block.
    pub blocks: Vec<BlockSamples>,
    /// Views run, crops and mirror images counted.
    pub views: usize,
}

/// Runs the graphs in `dir`, a bundle or one that is being written, over the photographs of `folder`.
///
/// Photographs are taken in the order of their names, each whole and, where there are few, again as seeded crops, half of them
/// mirrored. Files with other extensions than those of photographs are passed over.
///
/// # Errors
/// The folder holds no photograph, one of them does not decode, or the model does not run.
pub fn calibrate(
    runtime: &Runtime,
    dir: &Path,
    shape: &Shape,
    image: &ImageInput,
    folder: &Path,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Calibrated, CalibrateError> {
    let folder = Folder::open(folder)?;
    let views = folder.views();
    let meter = Meter::new(views as u64, progress);
    let mut sampler = Sampler::new(runtime, dir, shape, image, TOKENS.div_ceil(views), seed)?;
    for photograph in folder.photographs() {
        for pixels in photograph.views(image, seed)? {
            sampler.take(&pixels?)?;
            meter.add(1);
        }
    }
    Ok(Calibrated {
        blocks: sampler.blocks,
        views,
    })
}
