//! Texts on this machine, without a cluster.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use astra_bundle::{Bundle, Task};
use astra_wire::RequestOptions;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{AloneError, MACHINE, WHY};
use crate::cluster::request::client_handle::ClientHandle;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::generate::{Generate, Generated};
use crate::cluster::request::summary;
use crate::generate::{Ended, Generation, Prefill};
use crate::node::NodeError;
use crate::report::{MemberReport, Report};
use crate::text::{BundleText, Model, TextService};
use crate::worker::{Worker, WorkerError};
use astra_model::engine::{OwnedInput, Runtime};
use astra_model::partition::TokenRange;
use astra_model::tasks::embedding::{pooled, vector};
use astra_model::tasks::text::sampling::Sampler;

/// Opens a bundle of text on this machine. Takes a while and blocks.
///
/// # Errors
/// The bundle or ONNX Runtime is refused, or the bundle is not one of text.
pub fn words(
    bundle: &Path,
    library: Option<&Path>,
    threads: usize,
) -> Result<TextService, AloneError> {
    let runtime = Runtime::load(library, threads).map_err(NodeError::from)?;
    let bundle = Arc::new(Bundle::open(bundle).map_err(NodeError::from)?);
    let text = BundleText::open(bundle.dir(), bundle.manifest())?;
    let text = text.ok_or_else(|| AloneError::NoText {
        bundle: bundle.dir().display().to_string(),
    })?;
    let worker = Worker::start(runtime, bundle).map_err(NodeError::from)?;
    Ok(TextService::new(Arc::new(Machine { worker }), text))
}

/// This machine.
struct Machine {
    worker: Worker,
}

impl Machine {
    async fn generate(
        &self,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> Result<Generated, RequestError> {
        let prompt_tokens = question.prompt.len();
        let mut sampler = Sampler::new(question.sampling);
        let generation = Generation {
            prompt: question.prompt,
            prefill: Prefill::Alone,
            max_tokens: question.max_tokens,
            choose: Box::new(move |scores, text| sampler.pick(scores, text)),
            // Whoever takes them does nothing but print.
            take: Box::new(move |token| tokens.blocking_send(token).is_ok()),
            stop: Arc::new(AtomicBool::new(false)),
        };
        let ended = self.worker.generate(generation).await?;
        let report = Report {
            generated_tokens: Some(ended.tokens),
            reused_tokens: Some(ended.reused),
            prefill_ms: Some(summary::milliseconds(ended.prefill)),
            decode_ms: Some(summary::milliseconds(ended.decode)),
            tokens_per_second: tokens_per_second(&ended),
            ..report(prompt_tokens, ended.prefill)
        };
        Ok(Generated {
            report,
            tokens: ended.tokens,
            finish: ended.finish,
        })
    }

    async fn embed(&self, ids: Vec<u32>) -> Result<Embedded, RequestError> {
        let bundle = self.worker.bundle();
        let manifest = bundle.manifest();
        let Task::Embedding(of) = &manifest.task else {
            return Err(WorkerError::OtherTask.into());
        };
        let (tokens, hidden) = (ids.len(), manifest.shape.hidden);
        let (answer, took) = self.worker.run_full_model(OwnedInput::Ids(ids)).await?;
        let all = TokenRange {
            first: 0,
            tokens: short(tokens),
        };
        let share = pooled(of, all, tokens, &answer.patches, hidden);
        let embedding = vector(bundle, of, &[(all, share)]).map_err(RequestError::from)?;
        Ok(Embedded {
            report: report(tokens, took),
            embedding: embedding.ok_or(RequestError::Nothing)?,
        })
    }
}

/// A text is no longer than 16 bits count.
fn short(tokens: usize) -> u16 {
    u16::try_from(tokens).unwrap_or(u16::MAX)
}

fn tokens_per_second(ended: &Ended) -> Option<f64> {
    let seconds = ended.decode.as_secs_f64();
    // The first token is the prompt's.
    (ended.tokens > 1 && seconds > 0.0).then(|| (ended.tokens - 1) as f64 / seconds)
}

fn report(tokens: usize, took: Duration) -> Report {
    let latency = summary::milliseconds(took);
    Report {
        latency_ms: latency,
        members: vec![MemberReport {
            name: MACHINE.to_owned(),
            tokens: short(tokens),
            compute_ms: latency,
            ..MemberReport::default()
        }],
        alone: Some(WHY.to_owned()),
        coordinator: MACHINE.to_owned(),
        prompt_tokens: Some(tokens),
        ..Report::default()
    }
}

impl Model for Machine {
    fn generate(
        &self,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<Generated, RequestError>> {
        Box::pin(self.generate(question, tokens))
    }

    fn embed(
        &self,
        _: RequestOptions,
        _: Option<Vec<u16>>,
        ids: Vec<u32>,
        _: ClientHandle,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        Box::pin(self.embed(ids))
    }
}
