//! Rungs and numbers of devices against one device.

use astra_bundle::{Agreement, Bundle};
use astra_model::agreement;
use astra_model::engine::{Codec, FullModel, Head, Input, Modality, Model, ModelOutput, Runtime};
use astra_model::partition::split;
use astra_model::simulate::Simulation;
use serde::Serialize;

use super::VerifyError;
use crate::progress::{Meter, Progress};

/// One rung at one number of devices, means over the images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Row {
    /// Bits per token per block; 0 is exact mode.
    pub bits: u16,
    /// Axes coded; the hidden width in exact mode.
    pub rank: usize,
    /// Agreement, with the number of devices.
    #[serde(flatten)]
    pub agreement: Agreement,
}

/// One-device answers for the pixels of each image.
///
/// # Errors
/// The graph does not run.
pub fn one_device(
    runtime: &Runtime,
    bundle: &Bundle,
    pixels: &[Vec<u8>],
    progress: Progress<'_>,
) -> Result<Vec<ModelOutput>, VerifyError> {
    let mut whole = FullModel::open(runtime, bundle.dir(), bundle.manifest())?;
    let meter = Meter::new(pixels.len() as u64, progress);
    let run = |pixels: &Vec<u8>| {
        let answer = whole.run(pixels)?;
        meter.add(1);
        Ok(answer)
    };
    pixels.iter().map(run).collect()
}

/// Every rung of a bundle, exact mode (0) last.
pub fn all_rungs(bundle: &Bundle) -> Vec<u16> {
    let rungs = bundle.manifest().rungs.iter();
    // Bits and ranges are 16 bits wide on the wire, and refused beyond with the manifest.
    let rungs = rungs.filter_map(|rung| u16::try_from(rung.bits).ok());
    rungs.chain([0]).collect()
}

/// Scores each of `rungs` at every number of devices, with tokens divided evenly.
///
/// `answers` are the one-device answers for `pixels`.
///
/// # Errors
/// The bundle does not read or has no such rung, tokens cannot be divided so, or a step fails.
pub fn measure(
    runtime: &Runtime,
    bundle: &Bundle,
    pixels: &[Vec<u8>],
    answers: &[ModelOutput],
    rungs: &[u16],
    devices: &[usize],
    progress: Progress<'_>,
) -> Result<Vec<Row>, VerifyError> {
    let manifest = bundle.manifest();
    let mut bed = Bed {
        model: Model::open(
            runtime,
            bundle.dir(),
            &manifest.shape,
            Modality::of(manifest),
        )?,
        head: Head::open(runtime, bundle.dir(), manifest)?,
        hidden: manifest.shape.hidden,
        // A manifest with more tokens than a plan can number is refused.
        tokens: u16::try_from(manifest.shape.tokens).unwrap_or(u16::MAX),
        images: pixels,
        answers,
    };
    let all = rungs.len() * devices.len() * pixels.len();
    let meter = Meter::new(all as u64, progress);
    let mut rows = Vec::with_capacity(rungs.len() * devices.len());
    for &bits in rungs {
        let codec = Codec::load(bundle, bits)?;
        for &devices in devices {
            rows.push(Row {
                bits,
                rank: codec.mean_rank(),
                agreement: bed.score(&codec, devices, &meter)?,
            });
        }
    }
    Ok(rows)
}

struct Bed<'a> {
    model: Model,
    head: Head,
    hidden: usize,
    tokens: u16,
    images: &'a [Vec<u8>],
    answers: &'a [ModelOutput],
}

impl Bed<'_> {
    fn score(
        &mut self,
        codec: &Codec,
        devices: usize,
        meter: &Meter<'_>,
    ) -> Result<Agreement, VerifyError> {
        let ranges = split(self.tokens, &vec![1.0; devices])?;
        let mut simulation = Simulation::new(&self.model, codec, &ranges)?;
        let mut scores = Vec::with_capacity(self.images.len());
        for (pixels, expected) in self.images.iter().zip(self.answers) {
            let features = simulation.run(&mut self.model, codec, Input::Pixels(pixels))?;
            let answer = self.head.run(features.cls, features.patches)?;
            scores.push(agreement::Agreement::between(
                &answer,
                expected,
                self.hidden,
            ));
            meter.add(1);
        }
        let top = |map: fn(&agreement::Agreement) -> Option<f64>| {
            scores.iter().filter_map(map).reduce(f64::max)
        };
        Ok(Agreement {
            devices,
            inputs: scores.len(),
            cls_cosine: mean(&scores, |score| score.cls_cosine),
            patch_cosine: mean(&scores, |score| score.patch_cosine),
            map_mae: mean(&scores, |score| score.map_mae),
            map_max: top(|score| score.map_max),
            ..Agreement::default()
        })
    }
}

fn mean(
    scores: &[agreement::Agreement],
    figure: impl Fn(&agreement::Agreement) -> Option<f64>,
) -> Option<f64> {
    let figures: Vec<f64> = scores.iter().filter_map(figure).collect();
    (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
}
