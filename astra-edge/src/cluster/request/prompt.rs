//! A prompt as the coordinator processes it: across members, or on this device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_model::engine::OwnedInput;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::device::Device;
use crate::cluster::generation::conversation::CachedConversation;
use crate::cluster::generation::token_sink::{ReceivedTokens, StreamError, forward};
use crate::cluster::member::outcome::PartOutcome;
use crate::cluster::membership::roster::Candidate;
use crate::cluster::request::base::{Input, RequestBase, RequestLimits};
use crate::cluster::request::collected::{Collected, note};
use crate::cluster::request::dispatch;
use crate::cluster::request::distributed::{Attempted, DistributedRequest};
use crate::cluster::request::error::RequestError;
use crate::cluster::request::generation_outcome::{
    self, attempted, collect_rest, only_member, own_failure,
};
use crate::cluster::request::response::GenerationResponse;
use crate::cluster::request::summary;
use crate::cluster::session::set_up::ActivePlan;
use crate::generation::{GenerationRequest, Prefill};
use crate::report::Report;

/// A prompt to continue, and where its tokens go.
pub(crate) struct GenerationWork {
    pub(crate) base: RequestBase,
    pub(crate) request: GenerationRequest,
    pub(crate) tokens: mpsc::Sender<u32>,
    pub(crate) input: Arc<OwnedInput>,
}

/// The end for the client, and the conversation that the next request may continue.
pub(crate) type GenerationReply = (GenerationResponse, CachedConversation);

impl GenerationWork {
    /// `class_tokens` are those that every member computes.
    pub(crate) fn new(
        limits: RequestLimits,
        class_tokens: usize,
        tokens_per_member: Option<Vec<u16>>,
        request: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> Self {
        let divided = request.prompt.len().saturating_sub(class_tokens);
        Self {
            base: RequestBase::new(
                limits,
                Input::Text(request.prompt.len()),
                divided,
                tokens_per_member,
            ),
            input: Arc::new(OwnedInput::Ids(request.prompt.clone())),
            request,
            tokens,
        }
    }

    /// When the first token has to be there: after the prompt's deadline and, where members were lost, the time one device needs to
    /// compute the whole prompt.
    pub(crate) fn first_until(&self, device: &Device, speed: f64) -> Instant {
        let model = device.text_model(self.base.limits.rung);
        let seconds = model.seconds_behind(0, self.request.prompt.len(), speed);
        self.base.limits.deadline + Duration::from_secs_f64((2.0 * seconds).clamp(0.0, 3600.0))
    }

    /// The end of a generation that ran on `candidate`, whose KV cache then holds the conversation at `rung`.
    pub(crate) fn reply(
        &self,
        received: ReceivedTokens,
        begun: Instant,
        mut report: Report,
        candidate: Candidate,
        rung: u16,
    ) -> GenerationReply {
        let recomputed = received
            .stats
            .as_ref()
            .is_some_and(|stats| stats.recomputed);
        if recomputed {
            report.alone = Some(format!(
                "codes of other members were missing, so {} computed all of the prompt",
                candidate.name
            ));
        }
        summary::of_text(&mut report, &self.request.prompt, &received, begun);
        let response = GenerationResponse {
            report,
            prompt_tokens: self.request.prompt.len(),
            tokens: received.ids.len(),
            finish_reason: received.finish_reason,
        };
        let conversation = CachedConversation {
            candidate,
            rung: if recomputed { 0 } else { rung },
            tokens: [self.request.prompt.as_slice(), &received.ids].concat(),
            owner: None,
        };
        (response, conversation)
    }
}

impl DistributedRequest for GenerationWork {
    type Reply = GenerationReply;

    fn base(&self) -> &RequestBase {
        &self.base
    }

    async fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> Result<Attempted<GenerationReply>, RequestError> {
        let begun = Instant::now();
        let until = self.base.limits.members_until(begun);
        let request = plan.number_request();
        let plan = &*plan;
        let last = plan.placement.members.len().saturating_sub(1);
        let Some(member) = plan.placement.members.last() else {
            return Err(RequestError::Nothing);
        };
        let takes = |number| number != last;
        let mut ends = dispatch::begin(device, plan, &self.input, request, until, takes);
        let mut collected = Collected::new(plan.placement.members.len());
        let (mut source, sent) = match self.start_in_plan(device, plan, request, until).await {
            Ok(begun) => begun,
            Err(abort) => {
                dispatch::give_up(device, plan, request, &mut ends).await;
                return Ok(Attempted::Abort(abort));
            }
        };
        let first_until = self.first_until(device, member.speed);
        let forwarding = forward(&mut source, &self.tokens, Some(first_until));
        let received = until_finished(forwarding, &mut ends, &mut collected, plan).await;
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                source.cancel();
                dispatch::give_up(device, plan, request, &mut ends).await;
                let own = plan.placement.me == last;
                return attempted(error, member, own, collected.is_intact());
            }
        };
        if received.is_unwanted() {
            // Members that still work on the prompt stop, and have not failed for that.
            dispatch::give_up(device, plan, request, &mut ends).await;
        } else {
            collect_rest(&mut ends, &mut collected, plan).await;
        }
        if let Some(account) = collected.accounts.get_mut(last) {
            let own = plan.placement.me == last;
            *account = generation_outcome::account(account, &received, sent, own);
        }
        let mut report = summary::report(device, &self.base.limits, Duration::ZERO, begun);
        summary::of_members(&mut report, device, plan, &collected.accounts);
        let first = received.first.unwrap_or_else(Instant::now);
        let took = (!received.is_unwanted()).then(|| first.saturating_duration_since(begun));
        let reply = self.reply(
            received,
            begun,
            report,
            member.clone(),
            self.base.limits.rung,
        );
        Ok(Attempted::done(device, plan, &collected, reply, took))
    }

    async fn run_local(
        &self,
        device: &Arc<Device>,
        why: String,
    ) -> Result<GenerationReply, RequestError> {
        let begun = Instant::now();
        let mut source = self.start_local(device, Prefill::Local);
        let received = match forward(&mut source, &self.tokens, None).await {
            Ok(received) => received,
            Err(error) => return Err(own_failure(error)),
        };
        let mut report = summary::report(device, &self.base.limits, Duration::ZERO, begun);
        let own = device.candidate();
        let member = only_member(&own, self.request.prompt.len(), &received);
        summary::of_one(&mut report, member, 0, why);
        Ok(self.reply(received, begun, report, own, 0))
    }
}

/// Waits for the end of the tokens; ends early with the first member that takes no part, for which the others would wait in vain.
async fn until_finished(
    forwarding: impl Future<Output = Result<ReceivedTokens, StreamError>>,
    ends: &mut JoinSet<(usize, u64, PartOutcome)>,
    collected: &mut Collected,
    plan: &ActivePlan,
) -> Result<ReceivedTokens, StreamError> {
    tokio::pin!(forwarding);
    loop {
        tokio::select! {
            received = &mut forwarding => return received,
            Some(Ok((number, sent, end))) = ends.join_next() => {
                note(collected, plan, number, sent, end).map_err(StreamError::Abort)?;
            }
        }
    }
}
