//! What a model is calibrated on, and the rest, which agreement is measured on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use astra_bundle::Bundle;
use astra_export::calibrate::{Calibrated, calibrate_on_photographs, calibrate_on_texts, written};
use astra_export::package::Draft;
use astra_export::photographs::list;
use astra_export::split::Split;
use astra_export::texts;
use astra_export::verify::{Division, Row, measure, measure_texts, one_device, photographs, rungs};
use astra_model::engine::Runtime;
use astra_model::tasks::text::tokenizer::Tokenizer;

use crate::cli::progress::Bar;

/// Numbers of devices that agreement is measured for, and inputs at most: all that were kept for the number that most clusters
/// are near to, a part of them for the others. Their interval says what that costs.
const DEVICES: [(usize, usize); 3] = [(2, 12), (4, usize::MAX), (8, 12)];
/// Windows of a file that a language model is calibrated on at most.
const WINDOWS: usize = 48;
/// Windows that it writes itself where there is no file, a fraction of a minute each.
const WRITTEN: usize = 16;
/// Passages that an encoder is calibrated on at most.
const PASSAGES: usize = 384;
/// Of the built-in sentences that agreement is measured on: another than those of calibration.
const HELD_OUT_SEED: u64 = 1 << 32;

/// Photographs of a folder.
pub(super) struct Photographs {
    pub(super) source: String,
    calibrate: Vec<PathBuf>,
    held_out: Vec<PathBuf>,
}

/// Texts in token ids.
pub(super) struct Texts {
    /// Name, for people.
    pub(super) source: String,
    split: Split,
    calibrate: Vec<Vec<u32>>,
    held_out: Vec<Vec<u32>>,
}

impl Photographs {
    pub(super) fn of_folder(folder: &Path, seed: u64) -> Result<Self> {
        let (calibrate, held_out) = Split::PHOTOGRAPHS.divide(list(folder)?, seed);
        Ok(Self {
            source: super::file_name(folder),
            calibrate,
            held_out,
        })
    }

    pub(super) fn calibrate(
        &self,
        runtime: &Runtime,
        draft: &Draft,
        seed: u64,
    ) -> Result<Calibrated> {
        let bar = Bar::new("calibrate");
        let (dir, manifest, paths) = (draft.dir(), draft.manifest(), &self.calibrate);
        let seen = calibrate_on_photographs(runtime, dir, manifest, paths, seed, &bar.report())?;
        Ok(seen)
    }

    pub(super) fn held_out(&self) -> usize {
        self.held_out.len()
    }

    pub(super) fn shortage(&self) -> Option<String> {
        let (calibrate, held_out) = (self.calibrate.len(), self.held_out.len());
        shortage(Split::PHOTOGRAPHS, "photographs", calibrate, held_out)
    }

    pub(super) fn measure(&self, runtime: &Runtime, bundle: &Bundle) -> Result<Vec<Row>> {
        if self.held_out.is_empty() {
            return Ok(Vec::new());
        }
        let image = bundle.manifest().image;
        let image = image.context("the bundle's input is no image, which is what is scored on")?;
        let bar = Bar::new("measure agreement");
        let pixels = photographs(&self.held_out, &image, &|_, _| ())?;
        let answers = one_device(runtime, bundle, &pixels, &|_, _| ())?;
        let (rungs, divisions) = (rungs(bundle), divisions(bundle));
        let report = bar.report();
        Ok(measure(
            runtime, bundle, &pixels, &answers, &rungs, &divisions, &report,
        )?)
    }
}

impl Texts {
    pub(super) fn of_file(
        draft: &Draft,
        source: String,
        text: &str,
        most: Option<usize>,
        seed: u64,
    ) -> Result<Self> {
        let (split, usual) = match draft.manifest().family.is_causal() {
            true => (Split::WINDOWS, WINDOWS),
            false => (Split::PASSAGES, PASSAGES),
        };
        let most = split.of_calibrated(most.unwrap_or(usual));
        let (calibrate, held_out) = split.divide(tokens(draft, text, most)?, seed);
        Ok(Self {
            source,
            split,
            calibrate,
            held_out,
        })
    }

    /// Without a file: what a language model writes, or sentences for an encoder.
    pub(super) fn written(
        runtime: &Runtime,
        draft: &Draft,
        most: Option<usize>,
        seed: u64,
    ) -> Result<Self> {
        match draft.manifest().family.is_causal() {
            true => Self::by_model(runtime, draft, most.unwrap_or(WRITTEN), seed),
            false => Self::built_in(draft, most.unwrap_or(PASSAGES), seed),
        }
    }

    fn by_model(runtime: &Runtime, draft: &Draft, most: usize, seed: u64) -> Result<Self> {
        let split = Split::WINDOWS;
        let count = split.of_calibrated(most);
        let bar = Bar::new("write text to calibrate on");
        let (dir, manifest) = (draft.dir(), draft.manifest());
        let texts = written::by_model(runtime, dir, manifest, count, seed, &bar.report())?;
        let (calibrate, held_out) = split.divide(texts, seed);
        Ok(Self {
            source: "text written by the model".to_owned(),
            split,
            calibrate,
            held_out,
        })
    }

    fn built_in(draft: &Draft, most: usize, seed: u64) -> Result<Self> {
        let split = Split::PASSAGES;
        let calibrate = tokens(draft, &written::passages(seed), most)?;
        let kept = split.of_calibrated(calibrate.len()) - calibrate.len();
        let text = written::held_out_passages(seed.wrapping_add(HELD_OUT_SEED));
        Ok(Self {
            source: "built-in sentences".to_owned(),
            split,
            calibrate,
            held_out: tokens(draft, &text, kept)?,
        })
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

    pub(super) fn held_out(&self) -> usize {
        self.held_out.len()
    }

    pub(super) fn shortage(&self) -> Option<String> {
        let (calibrate, held_out) = (self.calibrate.len(), self.held_out.len());
        shortage(self.split, "texts", calibrate, held_out)
    }

    pub(super) fn measure(&self, runtime: &Runtime, bundle: &Bundle) -> Result<Vec<Row>> {
        if self.held_out.is_empty() {
            return Ok(Vec::new());
        }
        let bar = Bar::new("measure agreement");
        let (rungs, divisions) = (rungs(bundle), divisions(bundle));
        let report = bar.report();
        Ok(measure_texts(
            runtime,
            bundle,
            &self.held_out,
            &rungs,
            &divisions,
            &report,
        )?)
    }
}

/// Those the tokens can be divided among.
fn divisions(bundle: &Bundle) -> Vec<Division> {
    let tokens = bundle.manifest().shape.tokens;
    let possible = DEVICES
        .into_iter()
        .filter(|&(devices, _)| devices <= tokens);
    possible
        .map(|(devices, inputs)| Division::of_some(devices, inputs))
        .collect()
}

/// What is too small, in words.
fn shortage(split: Split, what: &str, calibrate: usize, held_out: usize) -> Option<String> {
    let shortage = split.shortage(calibrate, held_out)?;
    let purpose = match (shortage.to_calibrate, shortage.to_measure) {
        (true, true) => "to calibrate on, and to measure agreement on",
        (true, false) => "to calibrate on: other inputs will agree less",
        _ => "to measure agreement on",
    };
    Some(format!(
        "found {} {what}, {calibrate} to calibrate on and {held_out} to measure agreement on: too few {purpose}; {} or more like \
         those the model will process would do",
        calibrate + held_out,
        shortage.enough
    ))
}

fn tokens(draft: &Draft, text: &str, most: usize) -> Result<Vec<Vec<u32>>> {
    let manifest = draft.manifest();
    let input = manifest.text.as_ref().context("the model takes no text")?;
    let tokenizer = Tokenizer::open(draft.dir(), input)?;
    Ok(texts::inputs(text, &tokenizer, manifest, most)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_small_is_said_with_what_would_do() {
        let said =
            |calibrate, held_out| shortage(Split::PHOTOGRAPHS, "photographs", calibrate, held_out);
        assert_eq!(said(59, 15), None);
        assert_eq!(
            said(10, 4).unwrap(),
            "found 14 photographs, 10 to calibrate on and 4 to measure agreement on: too few to calibrate on: other inputs will \
             agree less; 40 or more like those the model will process would do"
        );
        let both = said(1, 0).unwrap();
        assert!(
            both.contains("too few to calibrate on, and to measure agreement on; 40 or more"),
            "{both}"
        );
    }
}
