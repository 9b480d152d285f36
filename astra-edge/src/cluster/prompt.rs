//! A prompt on its way: across members, alone, or behind the text generated before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, Reason};
use tokio::sync::mpsc;

use super::choose::{Choice, ChooseError, Wish};
use super::choose_text::choose_for_text;
use super::coordinator::RequestError;
use super::device::Device;
use super::hello::Why;
use super::listen::{Broken, Heard, listen};
use super::part::Part;
use super::request::{self, Account, End, GivenUp, Harvest, own_order};
use super::roster::Candidate;
use super::setup::ActivePlan;
use super::speaker::{self, Speaker, TOKEN_TIMEOUT};
use super::summary;
use super::text::{Generate, Generated, Spoke};
use super::work::{Asked, Ran, Work};
use crate::engine::OwnedInput;
use crate::generate::Prefill;
use crate::report::Report;

/// Time that members have to say what a prompt cost them, once its text is there.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A prompt on its way.
pub(super) struct Prompt {
    pub(super) asked: Asked,
    pub(super) wish: Wish,
    pub(super) question: Generate,
    pub(super) tokens: mpsc::Sender<u32>,
    input: Arc<OwnedInput>,
}

/// The text's report for the one who asked, and what the next question can go on from.
pub(super) type Reply = (Generated, Spoke);

impl Prompt {
    /// `class_tokens` are those that every member computes.
    pub(super) fn new(
        asked: Asked,
        class_tokens: usize,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> Self {
        let divided = question.prompt.len().saturating_sub(class_tokens);
        Self {
            asked,
            wish: asked.wish(divided, question.shares.clone()),
            input: Arc::new(OwnedInput::Ids(question.prompt.clone())),
            question,
            tokens,
        }
    }

    /// What this device is to generate, and how it comes by the prompt.
    pub(super) fn task(&self, prefill: Prefill) -> speaker::Task {
        speaker::Task {
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
    pub(super) fn first_until(&self, device: &Device, speed: f64) -> Instant {
        let model = device.text_model(self.asked.rung);
        let seconds = model.seconds_behind(0, self.question.prompt.len(), speed);
        self.asked.deadline + Duration::from_secs_f64((2.0 * seconds).clamp(0.0, 3600.0))
    }

    /// Begins the part of the member that generates.
    async fn speaker(
        &self,
        device: &Arc<Device>,
        plan: &ActivePlan,
        request: u32,
        until: Instant,
    ) -> Result<(Speaker, u64), GivenUp> {
        let seat = &plan.seat;
        let last = plan.choice.members.len().saturating_sub(1);
        let unfit = || GivenUp::Own("the plan does not fit the prompt".to_owned());
        if plan.choice.me == last {
            let order = own_order(device, seat, &self.input, request, until);
            let (_, order) = order.ok_or_else(unfit)?;
            let prefill = Prefill::Plan {
                plan: seat.plan.id,
                order,
            };
            let task = speaker::Task {
                waits: seat.gather().map(|gather| (gather, request)),
                receivers: seat.receivers(),
                ..self.task(prefill)
            };
            return Ok((Speaker::here(device, task), 0));
        }
        let other = plan.choice.members.last().map(|member| member.device);
        let range = seat.plan.ranges.last().copied();
        let (Some(other), Some(range)) = (other, range) else {
            return Err(unfit());
        };
        let part = Part {
            plan: Arc::clone(&seat.plan),
            range,
            request,
            deadline: until.saturating_duration_since(Instant::now()),
        };
        let generate = speaker::generate(self.question.max_tokens, &self.question.sampling);
        let message = part.with_ids(&self.question.prompt, Some(generate));
        let message = message.map_err(GivenUp::Own)?;
        let sent = message.len() as u64;
        let answers = device.link.ask_stream(other, "", message, self.longest());
        match answers.await {
            Ok(answers) => {
                let name = (seat.plan.id, request);
                Ok((Speaker::there(device, other, name, answers), sent))
            }
            Err(error) => Err(GivenUp::Lost {
                member: other,
                why: Why::Unreachable(error.to_string()),
            }),
        }
    }

    /// Longest that any generation takes; listeners give up much earlier.
    pub(super) fn longest(&self) -> Duration {
        let tokens = u32::try_from(self.question.max_tokens).unwrap_or(u32::MAX);
        self.asked
            .time()
            .saturating_add(TOKEN_TIMEOUT.saturating_mul(tokens.clamp(60, 100_000)))
    }

    /// What the text came to, for the one who asked and for the next question.
    pub(super) fn reply(
        &self,
        heard: Heard,
        begun: Instant,
        mut report: Report,
        candidate: Candidate,
        rung: u16,
    ) -> Reply {
        let recomputed = heard
            .spoken
            .as_ref()
            .is_some_and(|spoken| spoken.recomputed);
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
        let spoke = Spoke {
            candidate,
            rung: if recomputed { 0 } else { rung },
            tokens: [self.question.prompt.as_slice(), &heard.ids].concat(),
        };
        (generated, spoke)
    }

    pub(super) fn broke_off(&self, member: &str, tokens: usize, text: String) -> RequestError {
        RequestError::BrokeOff {
            member: member.to_owned(),
            tokens,
            text,
        }
    }
}

impl Work for Prompt {
    type Reply = Reply;

    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn wish(&self) -> &Wish {
        &self.wish
    }

    fn choose(
        &self,
        device: &Device,
        usable: &[Candidate],
        wish: &Wish,
    ) -> Result<Choice, ChooseError> {
        let own = device.candidate();
        if wish.tokens == 0 && wish.shares.is_none() {
            return Ok(Choice::alone(own));
        }
        choose_for_text(&own, usable, wish, &device.text_model(self.asked.rung))
    }

    fn seconds_alone(&self, device: &Device) -> f64 {
        let model = device.text_model(self.asked.rung);
        model.seconds_behind(0, self.question.prompt.len(), device.speed)
    }

    fn alone_by_choice(&self) -> &'static str {
        "one device is faster for a text of this length"
    }

    async fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> Result<Ran<Reply>, RequestError> {
        let begun = Instant::now();
        let until = self.asked.members_until(begun);
        let request = plan.number_request();
        let plan = &*plan;
        let last = plan.choice.members.len().saturating_sub(1);
        let Some(member) = plan.choice.members.last() else {
            return Err(RequestError::Nothing);
        };
        let takes = |number| number != last;
        let mut ends = request::begin(device, plan, &self.input, request, until, takes);
        let mut harvest = Harvest::new(plan.choice.members.len());
        let (mut speaker, sent) = match self.speaker(device, plan, request, until).await {
            Ok(begun) => begun,
            Err(given_up) => {
                request::give_up(device, plan, request, &mut ends).await;
                return Ok(Ran::GivenUp(given_up));
            }
        };
        let first_until = self.first_until(device, member.speed);
        let heard = {
            let listening = listen(&mut speaker, &self.tokens, Some(first_until));
            tokio::pin!(listening);
            loop {
                tokio::select! {
                    heard = &mut listening => break heard,
                    Some(Ok((number, sent, end))) = ends.join_next() => {
                        // A member that takes no part leaves the others waiting for nothing.
                        if let Err(given_up) = request::note(&mut harvest, plan, number, sent, end) {
                            break Err(Broken::GivenUp(given_up));
                        }
                    }
                }
            }
        };
        let heard = match heard {
            Ok(heard) => heard,
            Err(broken) => {
                speaker.stop();
                request::give_up(device, plan, request, &mut ends).await;
                return self.broken(broken, member, plan.choice.me == last, harvest.is_sound());
            }
        };
        if heard.is_unwanted() {
            // Members that still work on the prompt stop, and have not failed for that.
            request::give_up(device, plan, request, &mut ends).await;
        } else {
            self.last_words(&mut ends, &mut harvest, plan).await;
        }
        if let Some(account) = harvest.accounts.get_mut(last) {
            account.input_bytes = sent;
            *account = self.account(account, &heard, plan.choice.me == last);
        }
        let mut report = summary::report(device, &self.asked, Duration::ZERO, begun);
        summary::of_members(&mut report, plan, &harvest.accounts, device.shape());
        let took = (!heard.is_unwanted()).then(|| {
            heard
                .first
                .unwrap_or_else(Instant::now)
                .saturating_duration_since(begun)
        });
        let reply = self.reply(heard, begun, report, member.clone(), self.asked.rung);
        Ok(Ran::done(device, plan, &harvest, reply, took))
    }

    async fn alone(&self, device: &Arc<Device>, why: String) -> Result<Reply, RequestError> {
        let begun = Instant::now();
        let mut speaker = Speaker::here(device, self.task(Prefill::Alone));
        let heard = match listen(&mut speaker, &self.tokens, None).await {
            Ok(heard) => heard,
            Err(broken) => return Err(self.own_failure(broken)),
        };
        let mut report = summary::report(device, &self.asked, Duration::ZERO, begun);
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
        broken: Broken,
        member: &Candidate,
        own: bool,
        sound: bool,
    ) -> Result<Ran<Reply>, RequestError> {
        let device = member.device;
        let given_up = match broken {
            Broken::GivenUp(given_up) => given_up,
            Broken::Refused(Reason::Busy) => GivenUp::Busy {
                member: device,
                sound,
            },
            Broken::Refused(Reason::UnknownPlan) => GivenUp::Stale { member: device },
            Broken::Refused(reason) => GivenUp::Lost {
                member: device,
                why: Why::Refused(reason.to_string()),
            },
            Broken::Failed { text, tokens: 0 } if own => GivenUp::Own(text),
            // Nobody has seen a token of it: another device can begin anew.
            Broken::Failed { text, tokens: 0 } => GivenUp::Lost {
                member: device,
                why: Why::Unreachable(text),
            },
            Broken::Failed { text, tokens } => {
                return Err(self.broke_off(&member.name, tokens, text));
            }
        };
        Ok(Ran::GivenUp(given_up))
    }

    fn own_failure(&self, broken: Broken) -> RequestError {
        match broken {
            Broken::Failed { text, .. } => RequestError::Own(text),
            Broken::Refused(reason) => RequestError::Own(reason.to_string()),
            Broken::GivenUp(_) => RequestError::Nothing,
        }
    }

    /// What the prompt cost members that were done long ago.
    async fn last_words(
        &self,
        ends: &mut tokio::task::JoinSet<(usize, u64, End)>,
        harvest: &mut Harvest,
        plan: &ActivePlan,
    ) {
        let until = Instant::now() + LAST_WORDS;
        while let Ok(Some(end)) = tokio::time::timeout_at(until.into(), ends.join_next()).await {
            if let Ok((number, sent, end)) = end {
                // The text is there, whatever they say.
                let _ = request::note(harvest, plan, number, sent, end);
            }
        }
        for (number, (account, share)) in
            (harvest.accounts.iter_mut().zip(&harvest.shares)).enumerate()
        {
            let generates = number + 1 == plan.choice.members.len();
            if !generates && share.is_none() && account.failure.is_none() {
                account.failure = Some("no word of it before the text was there".to_owned());
            }
        }
    }

    /// The account of the device that generates.
    fn account(&self, before: &Account, heard: &Heard, own: bool) -> Account {
        let bytes = |(index, &id): (usize, &u32)| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            Control::Token { index, id }.encoded_len() as u64
        };
        Account {
            stats: heard
                .spoken
                .as_ref()
                .map(|spoken| spoken.stats)
                .unwrap_or_default(),
            result_bytes: if own {
                0
            } else {
                heard.ids.iter().enumerate().map(bytes).sum()
            },
            ..before.clone()
        }
    }

    pub(super) fn one_member(
        &self,
        member: Candidate,
        heard: &Heard,
    ) -> crate::report::MemberReport {
        let stats = heard.spoken.as_ref().map(|spoken| spoken.stats);
        let computed = Duration::from_micros(stats.unwrap_or_default().compute_us.into());
        // A text is no longer than 16 bits count.
        let tokens = u16::try_from(self.question.prompt.len()).unwrap_or(u16::MAX);
        summary::one(member.name, tokens, computed)
    }
}
