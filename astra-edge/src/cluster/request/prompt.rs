//! A prompt on its way: across members, alone, or behind the text generated before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, Reason};
use tokio::sync::mpsc;

use crate::cluster::device::Device;
use crate::cluster::generation::conversation::CachedConversation;
use crate::cluster::generation::token_sink::{ReceivedTokens, StreamError, listen};
use crate::cluster::generation::token_source;
use crate::cluster::generation::token_source::{TOKEN_TIMEOUT, TokenSource};
use crate::cluster::member::outcome::PartOutcome;
use crate::cluster::membership::hello::Rejection;
use crate::cluster::membership::roster::Candidate;
use crate::cluster::request::base::{Input, RequestBase, RequestLimits};
use crate::cluster::request::collected::note;
use crate::cluster::request::collected::{Account, Collected};
use crate::cluster::request::dispatch;
use crate::cluster::request::dispatch::own_order;
use crate::cluster::request::distributed::{Attempted, DistributedRequest};
use crate::cluster::request::error::RequestError;
use crate::cluster::request::generate::{Generate, Generated};
use crate::cluster::request::part::Part;
use crate::cluster::request::summary;
use crate::cluster::session::cancel::Abort;
use crate::cluster::session::set_up::ActivePlan;
use crate::generate::Prefill;
use crate::report::Report;
use astra_model::engine::OwnedInput;

/// Time that members have to say what a prompt cost them, once its text is there.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A prompt on its way.
pub(crate) struct Prompt {
    pub(crate) base: RequestBase,
    pub(crate) question: Generate,
    pub(crate) tokens: mpsc::Sender<u32>,
    input: Arc<OwnedInput>,
}

/// The text's report for the one who asked, and what the next question can go on from.
pub(crate) type PromptReply = (Generated, CachedConversation);

impl Prompt {
    /// `class_tokens` are those that every member computes.
    pub(crate) fn new(
        limits: RequestLimits,
        class_tokens: usize,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> Self {
        let divided = question.prompt.len().saturating_sub(class_tokens);
        Self {
            base: RequestBase::new(
                limits,
                Input::Text(question.prompt.len()),
                divided,
                question.shares.clone(),
            ),
            input: Arc::new(OwnedInput::Ids(question.prompt.clone())),
            question,
            tokens,
        }
    }

    /// What this device is to generate, and how it comes by the prompt.
    pub(crate) fn task(&self, prefill: Prefill) -> token_source::Task {
        token_source::Task {
            prompt: self.question.prompt.clone(),
            prefill,
            max_tokens: self.question.max_tokens,
            sampling: self.question.sampling,
            stop: Arc::default(),
            waits: None,
            receivers: 0,
        }
    }

    /// When the first token has to be there: the prompt by the deadline, or, where members were lost, all of it computed once
    /// more by one of them.
    pub(crate) fn first_until(&self, device: &Device, speed: f64) -> Instant {
        let model = device.text_model(self.base.limits.rung);
        let seconds = model.seconds_behind(0, self.question.prompt.len(), speed);
        self.base.limits.deadline + Duration::from_secs_f64((2.0 * seconds).clamp(0.0, 3600.0))
    }

    /// Begins the part of the member that generates.
    async fn source(
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
            let (_, order) = order.ok_or_else(unfit)?;
            let prefill = Prefill::Plan {
                plan: slot.plan.id,
                order,
            };
            let task = token_source::Task {
                waits: slot.gather().map(|gather| (gather, request)),
                receivers: slot.receivers(),
                ..self.task(prefill)
            };
            return Ok((TokenSource::here(device, task), 0));
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
        let generate = token_source::generate(self.question.max_tokens, &self.question.sampling);
        let message = part.with_ids(&self.question.prompt, Some(generate));
        let message = message.map_err(Abort::Own)?;
        let sent = message.len() as u64;
        let answers = device.link().ask_stream(other, "", message, self.longest());
        match answers.await {
            Ok(answers) => {
                let (version, name) = (slot.plan.version, (slot.plan.id, request));
                let source = TokenSource::there(device, other, version, name, answers);
                Ok((source, sent))
            }
            Err(error) => Err(Abort::Lost {
                member: other,
                why: Rejection::Unreachable(error.to_string()),
            }),
        }
    }

    /// Longest that any generation takes; listeners give up much earlier.
    pub(crate) fn longest(&self) -> Duration {
        let tokens = u32::try_from(self.question.max_tokens).unwrap_or(u32::MAX);
        self.base
            .limits
            .time()
            .saturating_add(TOKEN_TIMEOUT.saturating_mul(tokens.clamp(60, 100_000)))
    }

    /// What the text came to, for the one who asked and for the next question.
    pub(crate) fn reply(
        &self,
        heard: ReceivedTokens,
        begun: Instant,
        mut report: Report,
        candidate: Candidate,
        rung: u16,
    ) -> PromptReply {
        let recomputed = heard.stats.as_ref().is_some_and(|stats| stats.recomputed);
        if recomputed {
            report.alone = Some(format!(
                "codes of other members were missing, so {} computed all of the prompt",
                candidate.name
            ));
        }
        summary::of_text(&mut report, &self.question.prompt, &heard, begun);
        let generated = Generated {
            report,
            tokens: heard.ids.len(),
            finish: heard.finish,
        };
        let conversation = CachedConversation {
            candidate,
            rung: if recomputed { 0 } else { rung },
            tokens: [self.question.prompt.as_slice(), &heard.ids].concat(),
        };
        (generated, conversation)
    }

    pub(crate) fn broke_off(&self, member: &str, tokens: usize, text: String) -> RequestError {
        RequestError::BrokeOff {
            member: member.to_owned(),
            tokens,
            text,
        }
    }
}

impl DistributedRequest for Prompt {
    type Reply = PromptReply;

    fn base(&self) -> &RequestBase {
        &self.base
    }

    async fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> Result<Attempted<PromptReply>, RequestError> {
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
        let (mut source, sent) = match self.source(device, plan, request, until).await {
            Ok(begun) => begun,
            Err(abort) => {
                dispatch::give_up(device, plan, request, &mut ends).await;
                return Ok(Attempted::Abort(abort));
            }
        };
        let first_until = self.first_until(device, member.speed);
        let heard = {
            let listening = listen(&mut source, &self.tokens, Some(first_until));
            tokio::pin!(listening);
            loop {
                tokio::select! {
                    heard = &mut listening => break heard,
                    Some(Ok((number, sent, end))) = ends.join_next() => {
                        // A member that takes no part leaves the others waiting for nothing.
                        if let Err(abort) = note(&mut collected, plan, number, sent, end) {
                            break Err(StreamError::Abort(abort));
                        }
                    }
                }
            }
        };
        let heard = match heard {
            Ok(heard) => heard,
            Err(broken) => {
                source.stop();
                dispatch::give_up(device, plan, request, &mut ends).await;
                return self.broken(
                    broken,
                    member,
                    plan.placement.me == last,
                    collected.is_intact(),
                );
            }
        };
        if heard.is_unwanted() {
            // Members that still work on the prompt stop, and have not failed for that.
            dispatch::give_up(device, plan, request, &mut ends).await;
        } else {
            self.last_words(&mut ends, &mut collected, plan).await;
        }
        if let Some(account) = collected.accounts.get_mut(last) {
            account.input_bytes = sent;
            *account = self.account(account, &heard, plan.placement.me == last);
        }
        let mut report = summary::report(device, &self.base.limits, Duration::ZERO, begun);
        summary::of_members(&mut report, plan, &collected.accounts, device.shape());
        let took = (!heard.is_unwanted()).then(|| {
            heard
                .first
                .unwrap_or_else(Instant::now)
                .saturating_duration_since(begun)
        });
        let reply = self.reply(heard, begun, report, member.clone(), self.base.limits.rung);
        Ok(Attempted::done(device, plan, &collected, reply, took))
    }

    async fn run_local(
        &self,
        device: &Arc<Device>,
        why: String,
    ) -> Result<PromptReply, RequestError> {
        let begun = Instant::now();
        let mut source = TokenSource::here(device, self.task(Prefill::Alone));
        let heard = match listen(&mut source, &self.tokens, None).await {
            Ok(heard) => heard,
            Err(broken) => return Err(self.own_failure(broken)),
        };
        let mut report = summary::report(device, &self.base.limits, Duration::ZERO, begun);
        summary::of_one(
            &mut report,
            self.one_member(device.candidate(), &heard),
            0,
            why,
        );
        Ok(self.reply(heard, begun, report, device.candidate(), 0))
    }
}

impl Prompt {
    /// What a generation that broke means for the request.
    fn broken(
        &self,
        broken: StreamError,
        member: &Candidate,
        own: bool,
        intact: bool,
    ) -> Result<Attempted<PromptReply>, RequestError> {
        let device = member.device;
        let abort = match broken {
            StreamError::Abort(abort) => abort,
            StreamError::Refused(Reason::Busy) => Abort::Busy {
                member: device,
                intact,
            },
            StreamError::Refused(Reason::UnknownPlan) => Abort::Stale { member: device },
            StreamError::Refused(reason) => Abort::Lost {
                member: device,
                why: Rejection::Refused(reason.to_string()),
            },
            StreamError::Failed { text, tokens: 0 } if own => Abort::Own(text),
            // Nobody has seen a token of it: another device can begin anew.
            StreamError::Failed { text, tokens: 0 } => Abort::Lost {
                member: device,
                why: Rejection::Unreachable(text),
            },
            StreamError::Failed { text, tokens } => {
                return Err(self.broke_off(&member.name, tokens, text));
            }
        };
        Ok(Attempted::Abort(abort))
    }

    fn own_failure(&self, broken: StreamError) -> RequestError {
        match broken {
            StreamError::Failed { text, .. } => RequestError::Own(text),
            StreamError::Refused(reason) => RequestError::Own(reason.to_string()),
            StreamError::Abort(_) => RequestError::Nothing,
        }
    }

    /// What the prompt cost members that were done long ago.
    async fn last_words(
        &self,
        ends: &mut tokio::task::JoinSet<(usize, u64, PartOutcome)>,
        collected: &mut Collected,
        plan: &ActivePlan,
    ) {
        let until = Instant::now() + LAST_WORDS;
        while let Ok(Some(end)) = tokio::time::timeout_at(until.into(), ends.join_next()).await {
            if let Ok((number, sent, end)) = end {
                // The text is there, whatever they say.
                let _ = note(collected, plan, number, sent, end);
            }
        }
        for (number, (account, share)) in
            (collected.accounts.iter_mut().zip(&collected.shares)).enumerate()
        {
            let generates = number + 1 == plan.placement.members.len();
            if !generates && share.is_none() && account.failure.is_none() {
                account.failure = Some("no word of it before the text was there".to_owned());
            }
        }
    }

    /// The account of the device that generates.
    fn account(&self, before: &Account, heard: &ReceivedTokens, own: bool) -> Account {
        let bytes = |(index, &id): (usize, &u32)| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            Control::Token { index, id }.encoded_len() as u64
        };
        Account {
            stats: heard
                .stats
                .as_ref()
                .map(|stats| stats.stats)
                .unwrap_or_default(),
            result_bytes: if own {
                0
            } else {
                heard.ids.iter().enumerate().map(bytes).sum()
            },
            ..before.clone()
        }
    }

    pub(crate) fn one_member(
        &self,
        member: Candidate,
        heard: &ReceivedTokens,
    ) -> crate::report::MemberReport {
        let stats = heard.stats.as_ref().map(|stats| stats.stats);
        let computed = Duration::from_micros(stats.unwrap_or_default().compute_us.into());
        // A text is no longer than 16 bits count.
        let tokens = u16::try_from(self.question.prompt.len()).unwrap_or(u16::MAX);
        summary::one(member.name, tokens, computed)
    }
}
