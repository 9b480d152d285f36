//! Helpers of tests with real models.
#![allow(dead_code, reason = "each test file uses a part of this module")]

pub(crate) mod wire;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use astra_bundle::Bundle;
use astra_model::engine::{Codec, FullModel, Modality, Model, ModelOutput, Runtime};
use astra_model::fixtures::{RAGGED, ragged_codec};
use astra_model::{paths, tasks};

const HINT: &str = "run `cargo xtask test`, which provides it";

/// A bundle on ONNX Runtime.
#[derive(Clone)]
pub(crate) struct Bed {
    pub(crate) runtime: Runtime,
    pub(crate) bundle: Arc<Bundle>,
}

impl Bed {
    /// The bundle of the demo, an image model.
    pub(crate) fn open() -> Self {
        Self::of("vit_s_focus-224")
    }

    /// A bundle in the cache folder.
    pub(crate) fn of(name: &str) -> Self {
        // A process has one ONNX Runtime, and tests run in parallel.
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        let load = || Runtime::load(None, 1).unwrap_or_else(|error| panic!("{error}; {HINT}"));
        let runtime = RUNTIME.get_or_init(load).clone();
        let dir = cache().join("bundles").join(name);
        let bundle = Bundle::open(&dir).unwrap_or_else(|error| panic!("{error}; {HINT}"));
        Self {
            runtime,
            bundle: Arc::new(bundle),
        }
    }

    pub(crate) fn model(&self) -> Model {
        Model::open(
            &self.runtime,
            self.bundle.dir(),
            &self.bundle.manifest().shape,
            Modality::of(self.bundle.manifest()),
        )
        .unwrap()
    }

    /// The codec of a rung of the bundle, or of [`RAGGED`].
    pub(crate) fn codec(&self, rung: u16) -> Codec {
        match rung {
            RAGGED => ragged_codec(&self.bundle, 640).unwrap(),
            rung => Codec::load(&self.bundle, rung).unwrap(),
        }
    }

    /// Pixels of all tokens of one photograph.
    pub(crate) fn pixels(&self) -> Vec<u8> {
        let bytes = std::fs::read(photo()).unwrap_or_else(|error| panic!("{error}; {HINT}"));
        let spec = self
            .bundle
            .manifest()
            .image
            .expect("the demo's model takes images");
        tasks::image::prepare(&bytes, &spec).unwrap().pixels
    }

    /// The output of one device for that photograph.
    pub(crate) fn whole(&self) -> ModelOutput {
        let mut whole =
            FullModel::open(&self.runtime, self.bundle.dir(), self.bundle.manifest()).unwrap();
        whole.run(&self.pixels()).unwrap()
    }
}

/// A photograph the demo's bundle was not calibrated on.
pub(crate) fn photo() -> PathBuf {
    cache().join("samples/coffee.png")
}

fn cache() -> PathBuf {
    paths::cache_dir().expect("a home folder")
}

/// Largest absolute difference.
pub(crate) fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// Cosine of the angle between two vectors.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
