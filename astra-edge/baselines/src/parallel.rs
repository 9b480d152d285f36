//! The interface of all methods.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use astra_bundle::{Bundle, Task};
use astra_model::agreement::Agreement;
use astra_model::engine::{self, Decoder, FullModel, Head, LanguageHead, OwnedInput, Runtime};
use astra_model::partition::TokenRange;

use crate::mesh::Mesh;

/// One device of a method.
pub(crate) trait Parallel {
    /// Tokens of the input that a device needs.
    fn range(&self, device: usize) -> TokenRange;

    /// Tokens that only this device computes; 0 where tokens are not divided.
    fn own_tokens(&self, device: usize) -> u16;

    /// Runs one request. Only rank 0 returns an output.
    fn run(
        &mut self,
        mesh: &mut Mesh,
        input: &OwnedInput,
        times: &mut Times,
    ) -> Result<Option<Output>>;

    /// Completes the output of rank 0 for comparison, after the request's time was measured.
    fn complete(&mut self, _mesh: &mut Mesh, output: Output) -> Result<Output> {
        Ok(output)
    }
}

/// Times of a device, not counting waiting.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) compute: Duration,
    pub(crate) encode: Duration,
}

/// Runs `step` and adds its time to `sum`.
pub(crate) fn timed<T>(sum: &mut Duration, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = step();
    *sum += start.elapsed();
    result
}

/// The output that is compared.
pub(crate) enum Output {
    Image(engine::ModelOutput),
    /// Logits of the next token: `[V]`.
    Logits(Vec<f32>),
}

impl Output {
    pub(crate) fn agreement(&self, one_device: &Self, hidden: usize) -> Agreement {
        match (self, one_device) {
            (Self::Image(output), Self::Image(one)) => Agreement::between(output, one, hidden),
            (Self::Logits(logits), Self::Logits(one)) => Agreement::between_logits(logits, one),
            _ => Agreement::default(),
        }
    }
}

/// The head of the model.
pub(crate) enum OutputHead {
    Image(Head),
    Text(LanguageHead),
}

impl OutputHead {
    pub(crate) fn open(runtime: &Runtime, bundle: &Bundle) -> Result<Self> {
        let (dir, manifest) = (bundle.dir(), bundle.manifest());
        Ok(match manifest.task {
            Task::Generation => {
                Self::Text(LanguageHead::open(runtime, dir, manifest.shape.hidden)?)
            }
            Task::Embedding(_) => bail!("there are no baselines of sentence encoders"),
            _ => Self::Image(Head::open(runtime, dir, manifest)?),
        })
    }

    /// Output for the class token and all others after the final norm; for a text, the logits after the last token.
    pub(crate) fn run(
        &mut self,
        class: Vec<f32>,
        features: Vec<f32>,
        hidden: usize,
    ) -> Result<Output> {
        Ok(match self {
            Self::Image(head) => Output::Image(head.run(class, features)?),
            Self::Text(head) => {
                let last = features.len().checked_sub(hidden);
                let last = last.and_then(|last| features.get(last..));
                Output::Logits(head.run(last.context("fewer features than a token has")?)?)
            }
        })
    }
}

/// The output of a single device.
pub(crate) fn one_device(runtime: &Runtime, bundle: &Bundle, input: &OwnedInput) -> Result<Output> {
    let (dir, manifest) = (bundle.dir(), bundle.manifest());
    Ok(match input {
        OwnedInput::Pixels(pixels) => {
            Output::Image(FullModel::open(runtime, dir, manifest)?.run(pixels)?)
        }
        OwnedInput::Ids(ids) => {
            let mut decoder = Decoder::open(runtime, dir, manifest)?;
            Output::Logits(decoder.prefill(ids, 0)?.to_vec())
        }
    })
}
