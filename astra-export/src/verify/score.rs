//! Rungs and numbers of devices against one device, on photographs.

use astra_bundle::{Agreement, Bundle, QualityMeasure};
use astra_model::agreement;
use astra_model::engine::{Codec, FullModel, Head, Input, Modality, Model, ModelOutput, Runtime};
use astra_model::partition::split;
use astra_model::simulate::Simulation;

use super::VerifyError;
use super::interval::Interval;
use super::row::{Division, LostFrames, Row};
use crate::progress::{Meter, Progress};

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
    divisions: &[Division],
    progress: Progress<'_>,
) -> Result<Vec<Row>, VerifyError> {
    let manifest = bundle.manifest();
    let modality = Modality::of(manifest);
    let mut bed = Bed {
        model: Model::open(runtime, bundle.dir(), &manifest.shape, modality)?,
        head: Head::open(runtime, bundle.dir(), manifest)?,
        hidden: manifest.shape.hidden,
        // A manifest with more tokens than a plan can number is refused.
        tokens: u16::try_from(manifest.shape.tokens).unwrap_or(u16::MAX),
        images: pixels.iter().zip(answers).collect(),
    };
    let each = divisions
        .iter()
        .map(|division| division.count(pixels.len()));
    let all = rungs.len() * each.sum::<usize>();
    let meter = Meter::new(all as u64, progress);
    let mut rows = Vec::with_capacity(rungs.len() * divisions.len());
    for &bits in rungs {
        let codec = Codec::load(bundle, bits)?;
        for &division in divisions {
            let (scores, masked_tokens) = bed.score(&codec, division, &meter)?;
            rows.push(Row {
                masked_tokens,
                ..row(bits, codec.mean_rank(), division.devices, &scores)
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
    /// Pixels with their answer.
    images: Vec<(&'a Vec<u8>, &'a ModelOutput)>,
}

impl Bed<'_> {
    /// Agreement of each image, and the tokens that members missed.
    fn score(
        &mut self,
        codec: &Codec,
        division: Division,
        meter: &Meter<'_>,
    ) -> Result<(Vec<agreement::Agreement>, u64), VerifyError> {
        let ranges = split(self.tokens, &vec![1.0; division.devices])?;
        let LostFrames { share, seed } = division.lost;
        let simulation = Simulation::new(&self.model, codec, &ranges)?;
        let mut simulation = simulation.with_losses(share, seed);
        let mut masked_tokens = 0;
        let mut scores = Vec::with_capacity(division.count(self.images.len()));
        for (pixels, expected) in division.of(&self.images) {
            let features = simulation.run(&mut self.model, codec, Input::Pixels(pixels))?;
            masked_tokens += simulation.masked_tokens();
            let answer = self.head.run(features.cls, features.patches)?;
            scores.push(agreement::Agreement::between(
                &answer,
                expected,
                self.hidden,
            ));
            meter.add(1);
        }
        Ok((scores, masked_tokens))
    }
}

fn row(bits: u16, rank: usize, devices: usize, scores: &[agreement::Agreement]) -> Row {
    let all = |figure: fn(&agreement::Agreement) -> Option<f64>| -> Vec<f64> {
        scores.iter().filter_map(figure).collect()
    };
    let [cls, patches, errors, worst] = [
        all(|score| score.cls_cosine),
        all(|score| score.patch_cosine),
        all(|score| score.map_mae),
        all(|score| score.map_max),
    ];
    let mean = |figures: &[f64]| {
        (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
    };
    let agreement = Agreement {
        devices,
        inputs: scores.len(),
        cls_cosine: mean(&cls),
        patch_cosine: mean(&patches),
        map_mae: mean(&errors),
        map_max: worst.into_iter().reduce(f64::max),
        ..Agreement::default()
    };
    let (measure, scores) = match cls.is_empty() {
        false => (QualityMeasure::ClsCosine, cls),
        true => (QualityMeasure::PatchCosine, patches),
    };
    Row {
        bits,
        rank,
        agreement: Agreement {
            quality: Interval::quality(measure, &scores),
            ..agreement
        },
        scores,
        masked_tokens: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_means_and_the_interval_of_the_class_token() {
        let score = |cls, patch| agreement::Agreement {
            cls_cosine: cls,
            patch_cosine: Some(patch),
            map_max: Some(patch / 10.0),
            ..agreement::Agreement::default()
        };
        let found = row(
            160,
            96,
            4,
            &[score(Some(0.98), 0.9), score(Some(0.99), 0.8)],
        );
        assert_eq!((found.agreement.devices, found.agreement.inputs), (4, 2));
        assert_eq!(found.agreement.map_max, Some(0.09));
        let quality = found.agreement.quality.unwrap();
        assert_eq!(quality.measure, QualityMeasure::ClsCosine);
        assert!((quality.mean - 0.985).abs() < 1e-12 && quality.low < 0.98);
        assert_eq!(found.scores, [0.98, 0.99]);

        let without = row(160, 96, 4, &[score(None, 0.9), score(None, 0.8)]);
        assert_eq!(without.agreement.cls_cosine, None);
        let quality = without.agreement.quality.unwrap();
        assert_eq!(quality.measure, QualityMeasure::PatchCosine);
        assert!((quality.mean - 0.85).abs() < 1e-12);
    }
}
