//! What a model's blocks see of calibration inputs: the tokens that the codec is fitted to.
//!
//! - `views`: photographs, whole, and as crops and mirror images of themselves
//! - [`written`]: texts for models where no text is given
//! - `attention`: how much attention a token gets, and so what an error in it is worth
//! - `rotation`: queries as keys before rotary positions see them
//! - `tokens`: the model run on an input by one device, and the tokens taken from it

mod attention;
mod error;
mod rotation;
mod tokens;
mod views;
pub mod written;

use std::path::{Path, PathBuf};

use astra_bundle::Manifest;
use astra_model::engine::{Input, Runtime};

pub use error::CalibrateError;

use crate::fit::BlockSamples;
use crate::progress::{Meter, Progress};
use tokens::Sampler;
use views::Photographs;
pub(crate) use views::crop;

/// Tokens taken of each block at most: 96 images at 256 tokens each calibrate as well as 600 do.
const TOKENS: usize = 96 * 256;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// Sampled tokens of each block.
    pub blocks: Vec<BlockSamples>,
    /// Inputs run, crops and mirror images counted.
    pub inputs: usize,
}

/// Runs the graphs in `dir`, a bundle or one that is being written, over photographs.
///
/// Each is taken whole and, where there are few, again as seeded crops, half of them mirrored.
///
/// # Errors
/// The model does not see, there are no photographs, one of them does not decode, or the model does not run.
pub fn calibrate_on_photographs(
    runtime: &Runtime,
    dir: &Path,
    manifest: &Manifest,
    photographs: &[PathBuf],
    seed: u64,
    progress: Progress<'_>,
) -> Result<Calibrated, CalibrateError> {
    let image = manifest.image.as_ref();
    let image = image.ok_or(CalibrateError::Input("photographs"))?;
    let photographs = Photographs::new(photographs);
    let views = photographs.views();
    let meter = Meter::new(views as u64, progress);
    let mut sampler = Sampler::new(
        runtime,
        dir,
        manifest,
        &[],
        TOKENS.div_ceil(views.max(1)),
        seed,
    )?;
    for photograph in photographs.each() {
        for pixels in photograph.views(image, seed)? {
            sampler.take(Input::Pixels(&pixels?), manifest.shape.tokens)?;
            meter.add(1);
        }
    }
    Ok(Calibrated {
        blocks: sampler.blocks,
        inputs: views,
    })
}

/// Runs the graphs in `dir` over texts in token ids. `frequencies` are those of rotary positions, empty where there are none.
///
/// Of a causal model, the first tokens of each text are computed in place like on every member, and never sampled.
///
/// # Errors
/// The model does not read, there are no texts, one of them is shorter than what can be divided, or the model does not run.
pub fn calibrate_on_texts(
    runtime: &Runtime,
    dir: &Path,
    manifest: &Manifest,
    frequencies: &[f64],
    texts: &[Vec<u32>],
    seed: u64,
    progress: Progress<'_>,
) -> Result<Calibrated, CalibrateError> {
    if manifest.text.is_none() {
        return Err(CalibrateError::Input("texts"));
    }
    let meter = Meter::new(texts.len() as u64, progress);
    let tokens = TOKENS.div_ceil(texts.len().max(1));
    let mut sampler = Sampler::new(runtime, dir, manifest, frequencies, tokens, seed)?;
    for ids in texts {
        let divided = ids.len().saturating_sub(manifest.shape.class_tokens);
        if divided == 0 {
            return Err(CalibrateError::ShortText {
                found: ids.len(),
                expected: manifest.shape.class_tokens + 1,
            });
        }
        sampler.take(Input::Ids(ids), divided)?;
        meter.add(1);
    }
    Ok(Calibrated {
        blocks: sampler.blocks,
        inputs: texts.len(),
    })
}
