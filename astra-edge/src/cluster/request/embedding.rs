//! The embedding of a text, computed across members or on this device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_bundle::Embedding;

use crate::cluster::device::Device;
use crate::cluster::request::base::{Input, RequestBase, RequestLimits};
use crate::cluster::request::dispatch;
use crate::cluster::request::distributed::{Attempted, DistributedRequest};
use crate::cluster::request::error::RequestError;
use crate::cluster::request::summary;
use crate::cluster::session::set_up::ActivePlan;
use crate::report::Report;
use astra_model::engine::OwnedInput;
use astra_model::partition::TokenRange;
use astra_model::tasks::embedding::{combine, pool_part};

/// The embedding of a text.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Times, members and costs.
    pub report: Report,
    /// The vector, of [`Embedding::width`](astra_bundle::Embedding::width) numbers.
    pub embedding: Vec<f32>,
}

/// A text to embed.
pub(crate) struct EmbeddingWork {
    base: RequestBase,
    tokens: usize,
    input: Arc<OwnedInput>,
    embedding: Embedding,
}

impl EmbeddingWork {
    pub(crate) fn new(
        limits: RequestLimits,
        tokens_per_member: Option<Vec<u16>>,
        ids: Vec<u32>,
        embedding: Embedding,
    ) -> Self {
        Self {
            base: RequestBase::new(limits, Input::Text(ids.len()), ids.len(), tokens_per_member),
            tokens: ids.len(),
            input: Arc::new(OwnedInput::Ids(ids)),
            embedding,
        }
    }

    fn vector(
        &self,
        device: &Device,
        shares: &[(TokenRange, Vec<f32>)],
    ) -> Result<Vec<f32>, RequestError> {
        combine(device.bundle(), &self.embedding, shares)?.ok_or(RequestError::Nothing)
    }
}

impl DistributedRequest for EmbeddingWork {
    type Reply = Embedded;

    fn base(&self) -> &RequestBase {
        &self.base
    }

    async fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> Result<Attempted<Embedded>, RequestError> {
        let begun = Instant::now();
        let until = self.base.limits.members_until(begun);
        let collected = match dispatch::run(device, plan, &self.input, until).await {
            Ok(collected) => collected,
            Err(abort) => return Ok(Attempted::Abort(abort)),
        };
        let (mut shares, mut missing) = (Vec::new(), Vec::new());
        for (range, share) in plan.placement.ranges.iter().zip(&collected.shares) {
            match share {
                Some(share) => shares.push((*range, share.cls.clone())),
                None => missing.push((*range).into()),
            }
        }
        let embedding = self.vector(device, &shares)?;
        let mut report = summary::report(device, &self.base.limits, Duration::ZERO, begun);
        summary::of_members(&mut report, device, plan, &collected.accounts);
        report.missing = missing;
        report.prompt_tokens = Some(self.tokens);
        let reply = Embedded { report, embedding };
        let took = Some(begun.elapsed());
        Ok(Attempted::done(device, plan, &collected, reply, took))
    }

    async fn run_local(&self, device: &Arc<Device>, why: String) -> Result<Embedded, RequestError> {
        let begun = Instant::now();
        let input = OwnedInput::clone(&self.input);
        let (answer, computed) = device.worker.run_full_model(input).await?;
        let hidden = device.shape().hidden;
        let all = TokenRange {
            first: 0,
            tokens: self.base.placement_request.tokens,
        };
        let share = pool_part(&self.embedding, all, self.tokens, &answer.patches, hidden);
        let embedding = self.vector(device, &[(all, share)])?;
        let mut report = summary::report(device, &self.base.limits, Duration::ZERO, begun);
        summary::of_one(
            &mut report,
            summary::alone(device, self.base.placement_request.tokens, computed),
            0,
            why,
        );
        report.prompt_tokens = Some(self.tokens);
        Ok(Embedded { report, embedding })
    }
}
