//! `astra-export verify`.

mod photographs;
mod texts;

use std::path::PathBuf;

use anyhow::Result;
use astra_bundle::Bundle;
use astra_export::verify::{Division, LostFrames, Row, rungs};

use super::RuntimeOptions;

/// Measure how close the results of a bundle are to those of its model
///
/// Compares every rung, at several numbers of devices, with one device: the features and results of photographs, the perplexity of
/// a language model over a text (--perplexity), or the cosine of embeddings; with the 95 % interval of the main measure. Models from
/// ONNX are compared with the original file too. Use other inputs than those of the calibration.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Verify {
    /// Directory of the bundle
    bundle: PathBuf,
    /// The ONNX file the bundle was exported from; by default the cache's copy of it, if that is the same file
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Photographs to score on; by default those of the demo, without those that the bundle was calibrated on
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Text to score a language model on: the perplexity over windows of 512 tokens that are read on their own
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    perplexity: Option<PathBuf>,
    /// Text to score embeddings on, a passage a line; by default built-in sentences
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "perplexity"])]
    texts: Option<PathBuf>,
    /// Windows or passages of the text at most, taken evenly from all of it
    #[arg(long, value_name = "N", default_value_t = 16)]
    windows: usize,
    /// Numbers of devices
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [2, 4, 8])]
    devices: Vec<usize>,
    /// Rungs to score, by their bits per token per block, 0 for exact mode; by default all
    #[arg(long, value_name = "BITS,...", value_delimiter = ',')]
    rungs: Option<Vec<u16>>,
    /// Lose this share of all frames, at random and independently for each receiver: 0.05 for 5 %
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = 0.0)]
    lost_frames: f64,
    /// Decides which frames are lost
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(in crate::cli) fn run(self) -> Result<()> {
        let bundle = Bundle::open(&self.bundle)?;
        match bundle.manifest().family.is_text() {
            true => self.texts(&bundle),
            false => self.photographs(&bundle),
        }
    }

    /// Those named, else all, exact mode (0) last.
    fn chosen_rungs(&self, bundle: &Bundle) -> Vec<u16> {
        let all = || rungs(bundle).into_iter().chain([0]).collect();
        self.rungs.clone().unwrap_or_else(all)
    }

    fn divisions(&self) -> Vec<Division> {
        let lost = self.lost().unwrap_or_default();
        let devices = self.devices.iter().copied();
        let all = devices.map(Division::of_all_inputs);
        all.map(|division| Division { lost, ..division }).collect()
    }

    /// `None` if nothing is lost.
    fn lost(&self) -> Option<LostFrames> {
        (self.lost_frames > 0.0).then_some(LostFrames {
            share: self.lost_frames,
            seed: self.seed,
        })
    }
}

/// What the figures were measured with, as the first lines of a table.
fn heading(inputs: &str, lost: Option<LostFrames>) -> String {
    match lost {
        None => format!("{inputs}\n"),
        Some(LostFrames { share, seed }) => format!(
            "{inputs}\n{} % of all frames lost, independently for each receiver, seed {seed}\n",
            100.0 * share
        ),
    }
}

/// A share of frames, for clap.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| format!("found {text:?}, expected a number from 0 and below 1"))
}

/// A figure, or that it was not taken.
fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// The interval of the quality of a row: `0.9903 to 0.9938`, of perplexity `+0.20 % to +0.42 %`.
fn interval(row: &Row) -> String {
    row.agreement
        .quality
        .map_or("-".to_owned(), |quality| quality.interval())
}

/// A rung's name.
fn name(bits: u16) -> String {
    match bits {
        0 => "exact".to_owned(),
        bits => bits.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_frames_are_from_0_and_below_1() {
        assert_eq!((share("0"), share("0.05")), (Ok(0.0), Ok(0.05)));
        for wrong in ["1", "-0.1", "NaN", "5%"] {
            assert!(share(wrong).unwrap_err().contains(wrong));
        }
    }

    #[test]
    fn losses_are_said_above_the_figures() {
        let lost = LostFrames {
            share: 0.05,
            seed: 3,
        };
        assert_eq!(heading("15 photographs", None), "15 photographs\n");
        assert_eq!(
            heading("15 photographs", Some(lost)),
            "15 photographs\n5 % of all frames lost, independently for each receiver, seed 3\n"
        );
    }
}
