//! What a model is calibrated and scored on.

use std::path::PathBuf;

use anyhow::{Context, Result};
use astra_bundle::Bundle;
use astra_export::calibrate::{Calibrated, calibrate_on_photographs, calibrate_on_texts, written};
use astra_export::package::Draft;
use astra_export::texts;
use astra_export::verify::{Row, all_rungs, measure, measure_texts, one_device, photographs};
use astra_model::engine::Runtime;
use astra_model::tasks::text::tokenizer::Tokenizer;

use crate::cli::progress::Bar;

/// Numbers of devices that agreement is measured for.
const DEVICES: [usize; 2] = [2, 4];
/// Photographs that agreement is measured on at most; more take minutes and hardly move the means.
const SCORED: usize = 16;
/// Windows of a file that a language model is calibrated on at most.
const WINDOWS: usize = 48;
/// Windows that it writes itself where there is no file, a fraction of a minute each.
const WRITTEN: usize = 16;
/// Passages that an encoder is calibrated on at most.
const PASSAGES: usize = 384;
/// One in this number of texts is kept for scoring.
const HELD_OUT: usize = 12;

/// A folder of photographs.
pub(super) struct Photographs {
    pub(super) folder: PathBuf,
}

/// Texts in token ids.
pub(super) struct Texts {
    /// Name, for people.
    pub(super) source: String,
    calibrate: Vec<Vec<u32>>,
    /// Others.
    score: Vec<Vec<u32>>,
}

impl Photographs {
    pub(super) fn calibrate(
        &self,
        runtime: &Runtime,
        draft: &Draft,
        seed: u64,
    ) -> Result<Calibrated> {
        let bar = Bar::new("calibrate");
        let (dir, manifest) = (draft.dir(), draft.manifest());
        let folder = &self.folder;
        let seen = calibrate_on_photographs(runtime, dir, manifest, folder, seed, &bar.report())?;
        Ok(seen)
    }

    pub(super) fn score(&self, runtime: &Runtime, bundle: &Bundle) -> Result<Vec<Row>> {
        let image = bundle.manifest().image;
        let image = image.context("the bundle's input is no image, which is what is scored on")?;
        let bar = Bar::new("measure agreement");
        let pixels = photographs(&self.folder, &image, &|_, _| ())?;
        let step = pixels.len().div_ceil(SCORED).max(1);
        let pixels: Vec<_> = pixels.into_iter().step_by(step).collect();
        let answers = one_device(runtime, bundle, &pixels, &|_, _| ())?;
        let rungs = all_rungs(bundle);
        let devices = devices(bundle);
        let report = bar.report();
        Ok(measure(
            runtime, bundle, &pixels, &answers, &rungs, &devices, &report,
        )?)
    }
}

impl Texts {
    pub(super) fn of_file(
        draft: &Draft,
        source: String,
        text: &str,
        most: Option<usize>,
    ) -> Result<Self> {
        let usual = match draft.manifest().family.is_causal() {
            true => WINDOWS,
            false => PASSAGES,
        };
        let most = and_held_out(most.unwrap_or(usual));
        Ok(Self::held_out(source, tokens(draft, text, most)?))
    }

    /// Without a file: what a language model writes, or sentences for an encoder.
    pub(super) fn written(
        runtime: &Runtime,
        draft: &Draft,
        most: Option<usize>,
        seed: u64,
    ) -> Result<Self> {
        let (dir, manifest) = (draft.dir(), draft.manifest());
        if !manifest.family.is_causal() {
            let text = written::passages(seed);
            let source = "built-in sentences".to_owned();
            let most = and_held_out(most.unwrap_or(PASSAGES));
            return Ok(Self::held_out(source, tokens(draft, &text, most)?));
        }
        let bar = Bar::new("write text to calibrate on");
        let count = and_held_out(most.unwrap_or(WRITTEN));
        let texts = written::by_model(runtime, dir, manifest, count, seed, &bar.report())?;
        Ok(Self::held_out(
            "text written by the model".to_owned(),
            texts,
        ))
    }

    fn held_out(source: String, texts: Vec<Vec<u32>>) -> Self {
        let (mut calibrate, mut score) = (Vec::new(), Vec::new());
        for (number, text) in texts.into_iter().enumerate() {
            let list = match number % HELD_OUT {
                1 => &mut score,
                _ => &mut calibrate,
            };
            list.push(text);
        }
        Self {
            source,
            calibrate,
            score,
        }
    }

    pub(super) fn calibrate(
        &self,
        runtime: &Runtime,
        draft: &Draft,
        frequencies: &[f64],
        seed: u64,
    ) -> Result<Calibrated> {
        let bar = Bar::new("calibrate");
        Ok(calibrate_on_texts(
            runtime,
            draft.dir(),
            draft.manifest(),
            frequencies,
            &self.calibrate,
            seed,
            &bar.report(),
        )?)
    }

    pub(super) fn score(&self, runtime: &Runtime, bundle: &Bundle) -> Result<Vec<Row>> {
        // A file of one window leaves none over.
        let texts = match self.score.as_slice() {
            [] => &self.calibrate,
            _ => &self.score,
        };
        let bar = Bar::new("measure agreement");
        let (rungs, devices) = (all_rungs(bundle), devices(bundle));
        let rows = measure_texts(runtime, bundle, texts, &rungs, &devices, &bar.report())?;
        Ok(rows)
    }
}

/// At most this number of texts, and those that are kept for scoring.
fn and_held_out(texts: usize) -> usize {
    texts.saturating_add(texts.div_ceil(HELD_OUT - 1))
}

/// Those the tokens can be divided among.
fn devices(bundle: &Bundle) -> Vec<usize> {
    let tokens = bundle.manifest().shape.tokens;
    DEVICES.into_iter().filter(|&n| n <= tokens).collect()
}

fn tokens(draft: &Draft, text: &str, most: usize) -> Result<Vec<Vec<u32>>> {
    let manifest = draft.manifest();
    let input = manifest.text.as_ref().context("the model takes no text")?;
    let tokenizer = Tokenizer::open(draft.dir(), input)?;
    Ok(texts::inputs(text, &tokenizer, manifest, most)?)
}
