//! The member that generates: starting it, on this device or on another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, Resume};

use crate::cluster::device::Device;
use crate::cluster::generation::conversation::CachedConversation;
use crate::cluster::generation::token_source::{TOKEN_TIMEOUT, TokenSource, room};
use crate::cluster::membership::hello::Rejection;
use crate::cluster::request::dispatch::own_order;
use crate::cluster::request::part::{Part, packed};
use crate::cluster::request::prompt::GenerationWork;
use crate::cluster::session::cancel::{Abort, Cancellation};
use crate::cluster::session::set_up::ActivePlan;
use crate::generation::Prefill;
use crate::link::encode;

impl GenerationWork {
    /// Generates on this device, without a plan.
    pub(crate) fn start_local(&self, device: &Arc<Device>, prefill: Prefill) -> TokenSource {
        TokenSource::local(device, self.request.clone(), prefill, None, Arc::default())
    }

    /// Starts the last member of a plan, which generates. Also returns the bytes of the message to it.
    pub(crate) async fn start_in_plan(
        &self,
        device: &Arc<Device>,
        plan: &ActivePlan,
        request: u32,
        until: Instant,
    ) -> Result<(TokenSource, u64), Abort> {
        let slot = &plan.slot;
        let last = plan.placement.members.len().saturating_sub(1);
        let unfit = || Abort::Own("the plan does not fit the prompt".to_owned());
        if plan.placement.me == last {
            let order = own_order(device, slot, &self.input, request, until);
            let (_, job) = order.ok_or_else(unfit)?;
            let prefill = Prefill::Plan {
                plan: slot.plan.id,
                job,
            };
            let generation = self.request.clone();
            let source =
                TokenSource::local(device, generation, prefill, Some(slot), Arc::default());
            return Ok((source, 0));
        }
        let other = plan.placement.members.last().map(|member| member.device);
        let range = slot.plan.ranges.last().copied();
        let (Some(other), Some(range)) = (other, range) else {
            return Err(unfit());
        };
        let part = Part {
            plan: Arc::clone(&slot.plan),
            range,
            request,
            deadline: until.saturating_duration_since(Instant::now()),
        };
        let message = part.with_ids(&self.request.prompt, Some(self.request.params()));
        let message = message.map_err(Abort::Own)?;
        let sent = message.len() as u64;
        let answers =
            device
                .link()
                .request_stream(other, "", message, (self.longest(), room(self.most())));
        match answers.await {
            Ok(answers) => {
                let of = slot.cancellation(request);
                Ok((
                    TokenSource::remote(device, other, of, self.most(), answers),
                    sent,
                ))
            }
            Err(error) => Err(Abort::Lost {
                member: other,
                why: Rejection::Unreachable(error.to_string()),
            }),
        }
    }

    /// Has another device continue the conversation in its KV cache; `None` if it cannot be reached.
    pub(crate) async fn resume(
        &self,
        device: &Arc<Device>,
        conversation: &CachedConversation,
    ) -> Option<TokenSource> {
        let ids = packed(&self.request.prompt);
        let other = conversation.candidate.device;
        let of = Cancellation {
            version: device.roster().version_for(other)?,
            plan: rand::random(),
            request: 0,
            secret: rand::random(),
        };
        let message = Control::Resume(Resume {
            plan: of.plan,
            request: of.request,
            rung: conversation.rung,
            generate: self.request.params(),
            ids: &ids,
            secret: of.secret,
        });
        let message = encode(of.version, &message).ok()?;
        let answers =
            device
                .link()
                .request_stream(other, "", message, (self.longest(), room(self.most())));
        let answers = answers.await.ok()?;
        Some(TokenSource::remote(device, other, of, self.most(), answers))
    }

    /// Most tokens of the generation.
    fn most(&self) -> u32 {
        self.request.params().max_tokens
    }

    /// Longest that any generation takes; [`forward`](crate::cluster::generation::token_sink::forward) gives up much earlier.
    fn longest(&self) -> Duration {
        let tokens = self.most();
        self.base
            .limits
            .time()
            .saturating_add(TOKEN_TIMEOUT.saturating_mul(tokens.clamp(60, 100_000)))
    }
}
