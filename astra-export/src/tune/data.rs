//! What is trained on: an endless row of inputs with what their features are to be.

use std::path::PathBuf;

use astra_bundle::{Bundle, ImageInput, Sha256Digest, Shape};
use astra_model::engine::{FullModel, Input, OwnedInput, Runtime};
use astra_model::partition::split;
use astra_model::tasks::image::{decode, prepare};
use candle_core::{Device, Tensor};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::TuneError;
use super::loss::Target;
use super::model::Division;
use crate::calibrate::crop;
use crate::photographs::{PhotographError, read};

/// Share of the examples that are whole photographs; the others are crops of them.
const WHOLE: f64 = 0.25;
/// Share of the examples whose tokens are divided unevenly.
const UNEVEN: f64 = 0.5;
/// Largest ratio of the tokens of two members then.
const SPREAD: f64 = 3.0;

/// One input of a step.
pub(super) struct Example {
    pub(super) input: OwnedInput,
    pub(super) target: Target,
    pub(super) division: Division,
}

/// Photographs and the exact model that says what their features are.
pub(super) struct Examples {
    paths: Vec<PathBuf>,
    image: ImageInput,
    exact: FullModel,
    shape: Shape,
    causal: bool,
    devices: Vec<usize>,
    seed: u64,
}

impl Examples {
    /// # Errors
    /// The bundle's model takes no images, or does not run.
    pub(super) fn photographs(
        runtime: &Runtime,
        bundle: &Bundle,
        paths: Vec<PathBuf>,
        devices: &[usize],
        seed: u64,
    ) -> Result<Self, TuneError> {
        let manifest = bundle.manifest();
        let image = manifest.image.ok_or_else(|| {
            let path = bundle.dir().join("manifest.json");
            TuneError::mismatch(&path, "image", "none", "a model that takes images")
        })?;
        Ok(Self {
            paths,
            image,
            exact: FullModel::open(runtime, bundle.dir(), manifest)?,
            shape: manifest.shape,
            causal: manifest.family.is_causal(),
            devices: devices.to_vec(),
            seed,
        })
    }

    /// What decides the examples, beside the seed.
    pub(super) fn name(&self) -> String {
        let names = self.paths.iter().map(|path| path.to_string_lossy());
        let names: Vec<_> = names.collect();
        let digest = Sha256Digest::of(names.join("\n").as_bytes());
        format!("{} photographs {}", names.len(), digest.short())
    }

    /// Example number `number`, which its number and the seed decide.
    ///
    /// # Errors
    /// A photograph does not read, or the exact model does not run.
    pub(super) fn get(&mut self, number: u64) -> Result<Example, TuneError> {
        let mut rng = StdRng::seed_from_u64(crate::fit::mix(self.seed, number));
        let pixels = self.view(number, &mut rng)?;
        let answer = self.exact.run(&pixels)?;
        let division = self.division(&mut rng)?;
        let rows = |values: Vec<f32>, rows: usize| {
            Tensor::from_vec(values, (rows, self.shape.hidden), &Device::Cpu)
        };
        Ok(Example {
            target: Target {
                class: Some(rows(answer.cls, self.shape.class_tokens)?),
                tokens: rows(answer.patches, self.shape.tokens)?,
            },
            input: OwnedInput::Pixels(pixels),
            division,
        })
    }

    /// Pixels of a photograph, whole or a crop of it, as calibration makes them. Every photograph comes once before any comes again.
    fn view(&self, number: u64, rng: &mut StdRng) -> Result<Vec<u8>, TuneError> {
        let count = self.paths.len().max(1) as u64;
        let mut order: Vec<&PathBuf> = self.paths.iter().collect();
        let epoch = crate::fit::mix(self.seed ^ ORDER, number / count);
        order.shuffle(&mut StdRng::seed_from_u64(epoch));
        let place = usize::try_from(number % count).unwrap_or_default();
        let none = || PhotographError::None(PathBuf::from("photographs"));
        let path = order.get(place).ok_or_else(none)?;
        let bytes = read(path)?;
        let refuse = PhotographError::of(path);
        let prepared = match rng.random_bool(WHOLE) {
            true => prepare(&bytes, &self.image),
            false => decode(&bytes)
                .and_then(|original| crop(&original, rng))
                .and_then(|png| prepare(&png, &self.image)),
        };
        Ok(prepared.map_err(refuse)?.pixels)
    }

    fn division(&self, rng: &mut StdRng) -> Result<Division, TuneError> {
        let devices = self
            .devices
            .get(rng.random_range(0..self.devices.len().max(1)));
        let devices = devices.copied().unwrap_or(1);
        let uneven = rng.random_bool(UNEVEN);
        let speeds = (0..devices).map(|_| match uneven {
            true => rng.random_range(1.0..SPREAD),
            false => 1.0,
        });
        let speeds: Vec<f64> = speeds.collect();
        // A manifest with more tokens than a plan can number is refused.
        let tokens = u16::try_from(self.shape.tokens).unwrap_or(u16::MAX);
        let ranges = split(tokens, &speeds)?;
        Ok(Division::new(self.shape.class_tokens, self.causal, &ranges))
    }
}

/// Makes another seed of the order than of the views.
const ORDER: u64 = 0x6f72_6465_7200_0000;

impl Example {
    pub(super) fn input(&self) -> Input<'_> {
        self.input.borrow()
    }
}
