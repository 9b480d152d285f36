//! Requests about an image, from their arrival to their answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::Control;

use crate::cluster::device::Device;
use crate::cluster::member::share::Share;
use crate::cluster::request::assemble::{assemble, assemble_scores};
use crate::cluster::request::base::{Input, RequestBase};
use crate::cluster::request::collected::Collected;
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::dispatch;
use crate::cluster::request::distributed::{Attempted, DistributedRequest};
use crate::cluster::request::error::RequestError;
use crate::cluster::request::summary;
use crate::cluster::session::set_up::ActivePlan;
use crate::link::MAX_MESSAGE;
use crate::report::Report;
use astra_model::agreement::Agreement;
use astra_model::engine::{ModelOutput, OwnedInput};
use astra_model::partition::TokenRange;
use astra_model::tasks::image::{ImageError, MAX_FILE, Rect, prepare};

/// Timed runs of a comparison with this device on its own.
const COMPARISONS: usize = 3;

// A request with the largest image fits into a message.
const _: () = assert!(MAX_FILE + 4096 <= MAX_MESSAGE && MAX_FILE + 4096 <= Control::max_len(10));

/// A request about an image.
#[derive(Clone, Debug)]
pub struct ImageRequest {
    /// How it is to be processed, and for whom.
    pub context: RequestContext,
    /// The encoded image: JPEG, PNG or WebP.
    pub image: Vec<u8>,
}

/// The answer about an image.
#[derive(Clone, Debug)]
pub struct ImageReply {
    /// Members, times and bytes.
    pub report: Report,
    /// The answer.
    pub answer: ModelOutput,
}

/// A decoded image whose request is in progress.
struct PreparedImage {
    base: RequestBase,
    input: Arc<OwnedInput>,
    content: Rect,
    prepare: Duration,
}

impl Coordinator {
    /// Runs a request on the cluster, or on this device where no other can take part in time.
    ///
    /// # Errors
    /// The image, rung or ranges are refused, this device's own part fails, or the request's turn does not come in time.
    pub async fn answer(&self, request: ImageRequest) -> Result<ImageReply, RequestError> {
        let (options, client) = (request.context.options, request.context.client.clone());
        let work = self.prepare(request).await?;
        let mut state = self.turn(&work.base.limits, client.gone()).await?;
        let mut reply = if options.local {
            self.run_local(&work, "as requested".to_owned()).await?
        } else {
            self.run_distributed(&mut state, &work).await?
        };
        drop(state);
        if options.compare {
            self.compare(&work, &mut reply).await?;
        }
        Ok(reply)
    }

    async fn prepare(&self, request: ImageRequest) -> Result<PreparedImage, RequestError> {
        let limits = self.limits(&request.context)?;
        let wanted = "take pictures";
        let spec = (self.device().input).ok_or(RequestError::Task { wanted })?;
        let turn = Arc::clone(&self.decoding).acquire_owned();
        let turn = tokio::select! {
            biased;
            () = request.context.client.gone() => return Err(RequestError::Gone),
            turn = tokio::time::timeout_at(limits.deadline.into(), turn) => turn,
        };
        let turn = turn.map_err(|_| RequestError::Deadline(limits.time()))?;
        let image = request.image;
        let prepared = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let prepared = prepare(&image, &spec)?;
            // Dropped here: neither the file nor the decoded image is kept while the request waits for its turn.
            Ok::<_, ImageError>((prepared.pixels, prepared.content))
        })
        .await;
        let prepared = prepared.map_err(|error| RequestError::Stopped(error.to_string()))?;
        let (pixels, content) = prepared?;
        Ok(PreparedImage {
            base: RequestBase::new(
                limits,
                Input::Image,
                self.device().tokens().into(),
                request.context.tokens_per_member,
            ),
            content,
            input: Arc::new(OwnedInput::Pixels(pixels)),
            prepare: limits.arrived.elapsed(),
        })
    }

    /// Adds the agreement with this device on its own, and its latency: the best of a few runs, the first not counted.
    async fn compare(
        &self,
        work: &PreparedImage,
        reply: &mut ImageReply,
    ) -> Result<(), RequestError> {
        let time = work
            .base
            .limits
            .deadline
            .saturating_duration_since(work.base.limits.arrived);
        // The answer is there; the comparison has a deadline of its own.
        let engaged = self
            .engage(Instant::now() + time.max(Duration::from_secs(5)))
            .await;
        let _engaged = engaged.ok_or(RequestError::Deadline(time))?;
        let worker = &self.device().worker;
        let (one_device, _) = worker
            .run_full_model(OwnedInput::clone(&work.input))
            .await?;
        let mut best = Duration::MAX;
        for _ in 0..COMPARISONS {
            let (_, took) = worker
                .run_full_model(OwnedInput::clone(&work.input))
                .await?;
            best = best.min(took);
        }
        let hidden = self.device().shape().hidden;
        reply.report.one_device_latency_ms = Some(summary::milliseconds(best));
        reply.report.agreement = Some(Agreement::between(&reply.answer, &one_device, hidden));
        Ok(())
    }
}

impl DistributedRequest for PreparedImage {
    type Reply = ImageReply;

    fn base(&self) -> &RequestBase {
        &self.base
    }

    async fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> Result<Attempted<ImageReply>, RequestError> {
        let begun = Instant::now();
        let until = self.base.limits.members_until(begun);
        let collected = match dispatch::run(device, plan, &self.input, until).await {
            Ok(collected) => collected,
            Err(abort) => return Ok(Attempted::Abort(abort)),
        };
        let reply = self.finish(device, plan, &collected, begun).await?;
        let took = Some(begun.elapsed());
        Ok(Attempted::done(device, plan, &collected, reply, took))
    }

    async fn run_local(
        &self,
        device: &Arc<Device>,
        why: String,
    ) -> Result<ImageReply, RequestError> {
        let begun = Instant::now();
        let input = OwnedInput::clone(&self.input);
        let (answer, computed) = device.worker.run_full_model(input).await?;
        let mut report = self.report(device, begun, &answer);
        summary::of_one(
            &mut report,
            summary::alone(device, device.tokens(), computed),
            0,
            why,
        );
        Ok(ImageReply { report, answer })
    }
}

impl PreparedImage {
    async fn finish(
        &self,
        device: &Device,
        plan: &ActivePlan,
        collected: &Collected,
        begun: Instant,
    ) -> Result<ImageReply, RequestError> {
        let (answer, missing) =
            answer_of(device, &plan.placement.ranges, &collected.shares).await?;
        let mut report = self.report(device, begun, &answer);
        summary::of_members(&mut report, device, plan, &collected.accounts);
        report.missing = missing.into_iter().map(Into::into).collect();
        Ok(ImageReply { report, answer })
    }

    fn report(&self, device: &Device, begun: Instant, answer: &ModelOutput) -> Report {
        let content = self.content;
        let spec = device.input.as_ref();
        Report {
            prepare_ms: summary::milliseconds(self.prepare),
            classes: summary::classes(answer, &device.bundle().manifest().task),
            input: spec.map_or_else(Default::default, |spec| summary::input(spec, content)),
            ..summary::report(device, &self.base.limits, self.prepare, begun)
        }
    }
}

/// The answer combined from the members' shares, and the tokens that are missing in it.
async fn answer_of(
    device: &Device,
    ranges: &[TokenRange],
    shares: &[Option<Share>],
) -> Result<(ModelOutput, Vec<TokenRange>), RequestError> {
    let Some((rows, lines)) = device.rows(ranges) else {
        let whole = assemble(ranges, shares, device.shape().hidden);
        let whole = whole.ok_or(RequestError::Nothing)?;
        let answer = device.worker.run_head(whole.cls, whole.patches).await?;
        return Ok((answer, whole.missing));
    };
    let counts: Vec<usize> = (0..ranges.len())
        .map(|member| rows.of(member).len() * lines.row())
        .collect();
    let whole = assemble_scores(ranges, &counts, shares).ok_or(RequestError::Nothing)?;
    let mut answer = device.worker.finish_head(whole.scores).await?;
    answer.cls = whole.cls;
    Ok((answer, whole.missing))
}
