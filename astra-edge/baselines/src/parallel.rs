//! What all methods have in common.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use astra_bundle::{Bundle, Task};
use astra_model::agreement::Agreement;
use astra_model::engine::{self, Decoder, FullModel, Head, LanguageHead, OwnedInput, Runtime};
use astra_model::partition::TokenRange;

use crate::mesh::Mesh;

/// One device's part in a method.
pub(crate) trait Parallel {
    /// Tokens of the input that a device needs.
    fn range(&self, device: usize) -> TokenRange;

    /// Tokens that a device computes alone; 0 where tokens are not what is divided.
    fn own_tokens(&self, device: usize) -> u16;

    /// One request. The first device has its answer.
    fn run(
        &mut self,
        mesh: &mut Mesh,
        input: &OwnedInput,
        times: &mut Times,
    ) -> Result<Option<Answer>>;

    /// What the first device still needs to compare its answer, once the request is over.
    fn complete(&mut self, _mesh: &mut Mesh, answer: Answer) -> Result<Answer> {
        Ok(answer)
    }
}

/// Where a device's time went, waiting for others apart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) compute: Duration,
    pub(crate) encode: Duration,
}

/// Adds what `step` takes to a sum.
pub(crate) fn timed<T>(sum: &mut Duration, step: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = step();
    *sum += start.elapsed();
    result
}

/// An answer as far as it is compared.
pub(crate) enum Answer {
    Picture(engine::ModelOutput),
    /// Scores of the next token: `[V]`.
    Scores(Vec<f32>),
}

impl Answer {
    pub(crate) fn agreement(&self, one_device: &Self, hidden: usize) -> Agreement {
        match (self, one_device) {
            (Self::Picture(answer), Self::Picture(one)) => Agreement::between(answer, one, hidden),
            (Self::Scores(scores), Self::Scores(one)) => Agreement::between_logits(scores, one),
            _ => Agreement::default(),
        }
    }
}

/// From features to the answer.
pub(crate) enum End {
    Picture(Head),
    Text(LanguageHead),
}

impl End {
    pub(crate) fn open(runtime: &Runtime, bundle: &Bundle) -> Result<Self> {
        let (dir, manifest) = (bundle.dir(), bundle.manifest());
        Ok(match manifest.task {
            Task::Generation => {
                Self::Text(LanguageHead::open(runtime, dir, manifest.shape.hidden)?)
            }
            Task::Embedding(_) => bail!("there are no baselines of sentence encoders"),
            _ => Self::Picture(Head::open(runtime, dir, manifest)?),
        })
    }

    /// Of the class token and all others after the final norm; a text's answer is of the last of these.
    pub(crate) fn run(
        &mut self,
        class: Vec<f32>,
        features: Vec<f32>,
        hidden: usize,
    ) -> Result<Answer> {
        Ok(match self {
            Self::Picture(head) => Answer::Picture(head.run(class, features)?),
            Self::Text(head) => {
                let last = features.len().saturating_sub(hidden);
                Answer::Scores(head.run(features.get(last..).unwrap_or_default())?)
            }
        })
    }
}

/// The answer of one device.
pub(crate) fn one_device(runtime: &Runtime, bundle: &Bundle, input: &OwnedInput) -> Result<Answer> {
    let (dir, manifest) = (bundle.dir(), bundle.manifest());
    Ok(match input {
        OwnedInput::Pixels(pixels) => {
            Answer::Picture(FullModel::open(runtime, dir, manifest)?.run(pixels)?)
        }
        OwnedInput::Ids(ids) => {
            let mut decoder = Decoder::open(runtime, dir, manifest)?;
            Answer::Scores(decoder.prefill(ids, 0)?.to_vec())
        }
    })
}
