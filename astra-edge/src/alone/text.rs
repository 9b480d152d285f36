//! Texts on this machine, without a cluster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use astra_bundle::{Bundle, Task};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{AloneError, MACHINE, WHY};
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::response::GenerationResponse;
use crate::cluster::request::summary;
use crate::generation::{GenerationJob, GenerationRequest, GenerationStats, Prefill};
use crate::node::NodeError;
use crate::report::{MemberReport, Report};
use crate::text::{BundleText, TextService, TokenModel};
use crate::worker::{Worker, WorkerError};
use astra_model::engine::{OwnedInput, Runtime};
use astra_model::partition::TokenRange;
use astra_model::tasks::embedding::{combine, pool_part};

/// Opens a bundle of text on this machine. Takes seconds and blocks.
///
/// # Errors
/// The bundle or ONNX Runtime is refused, or the bundle is not one of text.
pub fn text_service(
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
        request: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> Result<GenerationResponse, RequestError> {
        let prompt_tokens = request.prompt.len();
        let job = GenerationJob {
            request,
            prefill: Prefill::Local,
            // The receiver only prints.
            on_token: Box::new(move |token| tokens.blocking_send(token).is_ok()),
            cancelled: Arc::default(),
        };
        let stats = self.worker.generate(job).await?;
        let report = Report {
            generated_tokens: Some(stats.tokens as usize),
            reused_tokens: Some(stats.reused_tokens as usize),
            prefill_ms: Some(summary::milliseconds(stats.prefill())),
            decode_ms: Some(summary::milliseconds(stats.decode())),
            tokens_per_second: tokens_per_second(&stats),
            ..report(prompt_tokens, stats.prefill())
        };
        Ok(GenerationResponse {
            report,
            prompt_tokens,
            tokens: stats.tokens as usize,
            finish_reason: stats.finish_reason,
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
        let share = pool_part(of, all, tokens, &answer.patches, hidden);
        let embedding = combine(bundle, of, &[(all, share)]).map_err(RequestError::from)?;
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

fn tokens_per_second(stats: &GenerationStats) -> Option<f64> {
    let seconds = stats.decode().as_secs_f64();
    // The first token comes from the prefill.
    (stats.tokens > 1 && seconds > 0.0).then(|| f64::from(stats.tokens - 1) / seconds)
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

impl TokenModel for Machine {
    fn generate(
        &self,
        _: RequestContext,
        request: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<GenerationResponse, RequestError>> {
        Box::pin(self.generate(request, tokens))
    }

    fn embed(
        &self,
        _: RequestContext,
        ids: Vec<u32>,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        Box::pin(self.embed(ids))
    }
}
