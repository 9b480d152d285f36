//! Agreement of what is trained with one device, on inputs that are not trained on, by the engine that devices use.

use std::path::PathBuf;

use astra_bundle::Bundle;
use astra_model::agreement::Agreement;
use astra_model::engine::{Codec, Input, Modality, Model, ModelOutput, Runtime};
use astra_model::partition::{TokenRange, split};
use astra_model::simulate::Simulation;
use serde::{Deserialize, Serialize};

use super::TuneError;
use super::codec::{BlockTensors, RungFrame, rounded};
use crate::verify::{one_device, photographs};

/// Members that agreement is measured at.
pub const MEMBERS: usize = 4;

/// Agreement, means over the held-out inputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Cosine of the class token.
    pub class: f64,
    /// Mean cosine of the patches.
    pub tokens: f64,
}

/// The inputs, and the exact model's answers.
pub(super) struct HeldOut {
    model: Model,
    hidden: usize,
    ranges: Vec<TokenRange>,
    pixels: Vec<Vec<u8>>,
    answers: Vec<ModelOutput>,
}

impl Score {
    /// Whether nothing is worse than in `other`.
    pub fn keeps(self, other: Self) -> bool {
        self.class >= other.class && self.tokens >= other.tokens
    }

    /// What is left to a cosine of 1, in that of `before`; mean of both.
    pub fn left(self, before: Self) -> f64 {
        let left = |now: f64, before: f64| (1.0 - now) / (1.0 - before).max(f64::MIN_POSITIVE);
        0.5 * (left(self.class, before.class) + left(self.tokens, before.tokens))
    }
}

impl HeldOut {
    /// # Errors
    /// A photograph does not read, or the model does not run.
    pub(super) fn photographs(
        runtime: &Runtime,
        bundle: &Bundle,
        paths: &[PathBuf],
    ) -> Result<Self, TuneError> {
        let manifest = bundle.manifest();
        let image = manifest.image.ok_or_else(|| {
            let path = bundle.dir().join("manifest.json");
            TuneError::mismatch(&path, "image", "none", "a model that takes images")
        })?;
        let pixels = photographs(paths, &image, &|_, _| ())?;
        let answers = one_device(runtime, bundle, &pixels, &|_, _| ())?;
        let tokens = u16::try_from(manifest.shape.tokens).unwrap_or(u16::MAX);
        Ok(Self {
            model: Model::open(
                runtime,
                bundle.dir(),
                &manifest.shape,
                Modality::of(manifest),
            )?,
            hidden: manifest.shape.hidden,
            ranges: split(tokens, &[1.0; MEMBERS])?,
            pixels,
            answers,
        })
    }

    /// Of a rung with these values, rounded as in a bundle.
    ///
    /// # Errors
    /// The values do not fit together, or the model does not run.
    pub(super) fn score(
        &mut self,
        frame: &RungFrame,
        values: &[BlockTensors<Vec<f32>>],
    ) -> Result<Score, TuneError> {
        let blocks = rounded(frame, values);
        let tables = blocks.iter().map(|block| Ok(block.tables()));
        let codec = Codec::from_tables(&frame.tables, self.hidden, tables)?;
        let mut simulation = Simulation::new(&self.model, &codec, &self.ranges)?;
        let (mut class, mut tokens) = (Vec::new(), Vec::new());
        for (pixels, expected) in self.pixels.iter().zip(&self.answers) {
            let features = simulation.run(&mut self.model, &codec, Input::Pixels(pixels))?;
            let answer = ModelOutput {
                cls: features.cls,
                patches: features.patches,
                ..ModelOutput::default()
            };
            let agreement = Agreement::between(&answer, expected, self.hidden);
            class.extend(agreement.cls_cosine);
            tokens.extend(agreement.patch_cosine);
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        Ok(Score {
            class: mean(&class),
            tokens: mean(&tokens),
        })
    }
}
