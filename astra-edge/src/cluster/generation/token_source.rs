//! Tokens as they come, from this device or from another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use astra_wire::{
    Control, DeviceId, FinishReason, Finished, GenerationParams, MemberStats, Reason,
    SamplingParams,
};
use tokio::sync::mpsc;

use crate::cluster::device::Device;
use crate::cluster::member::outcome::PartOutcome;
use crate::cluster::member::share::stats_of;
use crate::cluster::session::cancel::cancel;
use crate::gather::Gather;
use crate::generate::{Ended, Finish, Generation, Prefill};
use crate::link::Answers;
use crate::worker::WorkerError;
use astra_model::tasks::text::sampling::{Sampler, Sampling};

/// Longest time between two tokens: far beyond what any device needs for one that can be waited for at all.
pub(crate) const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time a generation has to end once nobody wants more of it.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Where tokens come from.
pub(crate) struct TokenSource {
    said: mpsc::UnboundedReceiver<TokenEvent>,
    stop: Stop,
}

/// What comes.
pub(crate) enum TokenEvent {
    Token(u32),
    Ended(Box<GenerationStats>),
    Refused(Reason),
    Failed(String),
}

/// A generation that has ended.
#[derive(Clone, Debug)]
pub(crate) struct GenerationStats {
    pub(crate) finish: Finish,
    pub(crate) tokens: usize,
    pub(crate) reused: usize,
    pub(crate) recomputed: bool,
    pub(crate) prefill: Duration,
    pub(crate) decode: Duration,
    pub(crate) stats: MemberStats,
}

/// How the tokens are ended.
enum Stop {
    Here {
        stop: Arc<AtomicBool>,
        /// Where this device waits for others, and the request.
        waits: Option<(Arc<Gather>, u32)>,
    },
    There {
        device: Arc<Device>,
        other: DeviceId,
        /// Wire version of the request.
        version: u8,
        plan: u64,
        request: u32,
    },
}

/// What this device is to generate.
pub(crate) struct Task {
    pub(crate) prompt: Vec<u32>,
    pub(crate) prefill: Prefill,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Sampling,
    pub(crate) stop: Arc<AtomicBool>,
    /// Where this device waits for others, and the request; members that its codes go to.
    pub(crate) waits: Option<(Arc<Gather>, u32)>,
    pub(crate) receivers: usize,
}

impl TokenSource {
    /// Generates on this device.
    pub(crate) fn here(device: &Arc<Device>, task: Task) -> Self {
        let (sender, said) = mpsc::unbounded_channel();
        let Task {
            prompt,
            prefill,
            max_tokens,
            sampling,
            stop,
            waits,
            receivers,
        } = task;
        let mut sampler = Sampler::new(sampling);
        let tokens = sender.clone();
        let generation = Generation {
            prompt,
            prefill,
            max_tokens,
            choose: Box::new(move |scores, text| sampler.pick(scores, text)),
            take: Box::new(move |token| tokens.send(TokenEvent::Token(token)).is_ok()),
            stop: Arc::clone(&stop),
        };
        let device = Arc::clone(device);
        tokio::spawn(async move {
            let end = match device.worker.generate(generation).await {
                Ok(ended) => TokenEvent::Ended(Box::new(GenerationStats::of(&ended, receivers))),
                Err(WorkerError::UnknownPlan { .. } | WorkerError::NotCached) => {
                    TokenEvent::Refused(Reason::UnknownPlan)
                }
                Err(error) => TokenEvent::Failed(error.to_string()),
            };
            // Whoever listened may have gone.
            let _ = sender.send(end);
        });
        Self {
            said,
            stop: Stop::Here { stop, waits },
        }
    }

    /// Receives tokens of another device that was asked, in a wire version, to generate as `plan` and `request`; the answers end
    /// on their own where the device goes away.
    pub(crate) fn there(
        device: &Arc<Device>,
        other: DeviceId,
        version: u8,
        (plan, request): (u64, u32),
        answers: Answers,
    ) -> Self {
        let (sender, said) = mpsc::unbounded_channel();
        tokio::spawn(relay(answers, (plan, request), sender));
        let device = Arc::clone(device);
        Self {
            said,
            stop: Stop::There {
                device,
                other,
                version,
                plan,
                request,
            },
        }
    }

    /// What comes next, if it comes in time; `None` also if nothing more can.
    pub(crate) async fn next(&mut self, until: Instant) -> Option<TokenEvent> {
        let said = tokio::time::timeout_at(until.into(), self.said.recv());
        said.await.ok().flatten()
    }

    /// Ends the tokens where they come from.
    pub(crate) fn stop(&self) {
        match &self.stop {
            Stop::Here { stop, waits } => {
                stop.store(true, Ordering::Release);
                if let Some((gather, request)) = waits {
                    gather.cancel(*request);
                }
            }
            Stop::There {
                device,
                other,
                version,
                plan,
                request,
            } => cancel(device, *other, *version, (*plan, *request)),
        }
    }

    /// Ends the tokens and waits a moment for the word that they have.
    pub(crate) async fn end(&mut self) -> Option<Box<GenerationStats>> {
        self.stop();
        let until = Instant::now() + END_TIMEOUT;
        loop {
            match self.next(until).await? {
                TokenEvent::Token(_) => {}
                TokenEvent::Ended(stats) => return Some(stats),
                TokenEvent::Refused(_) | TokenEvent::Failed(_) => return None,
            }
        }
    }
}

async fn relay(mut answers: Answers, name: (u64, u32), sender: mpsc::UnboundedSender<TokenEvent>) {
    let mut expected = 0;
    loop {
        // How long to wait is the business of whoever listens; Zenoh ends the question some day.
        let answer = tokio::select! {
            answer = answers.next(Duration::MAX) => answer,
            () = sender.closed() => return,
        };
        let said = match answer {
            Ok(Some(answer)) => read(&answer, name, &mut expected),
            Ok(None) => TokenEvent::Failed("it went away".to_owned()),
            Err(error) => TokenEvent::Failed(error.to_string()),
        };
        let more = matches!(said, TokenEvent::Token(_));
        if sender.send(said).is_err() || !more {
            return;
        }
    }
}

fn read(answer: &[u8], name: (u64, u32), expected: &mut u32) -> TokenEvent {
    match Control::parse(answer) {
        Ok(Control::Token { index, id }) if index == *expected => {
            *expected += 1;
            TokenEvent::Token(id)
        }
        Ok(Control::Token { index, .. }) => {
            TokenEvent::Failed(format!("token {index} came instead of token {expected}"))
        }
        Ok(Control::Finished(finished)) if (finished.plan, finished.request) == name => {
            TokenEvent::Ended(Box::new(GenerationStats::read(&finished)))
        }
        Ok(Control::Finished(_)) => TokenEvent::Failed("the end of another generation".to_owned()),
        other => match PartOutcome::of_other_reply(other) {
            PartOutcome::Refused(reason) => TokenEvent::Refused(reason),
            PartOutcome::Failed(text) | PartOutcome::Silent(text) => TokenEvent::Failed(text),
            PartOutcome::Share(..) => TokenEvent::Failed("an answer that is none".to_owned()),
        },
    }
}

impl GenerationStats {
    fn of(ended: &Ended, receivers: usize) -> Self {
        Self {
            finish: ended.finish,
            tokens: ended.tokens,
            reused: ended.reused,
            recomputed: ended.recomputed,
            prefill: ended.prefill,
            decode: ended.decode,
            stats: stats_of(&ended.stats, receivers),
        }
    }

    fn read(finished: &Finished) -> Self {
        Self {
            finish: match finished.finish_reason {
                FinishReason::Stop => Finish::Stop,
                FinishReason::Length => Finish::Length,
                _ => Finish::Gone,
            },
            tokens: finished.generation.tokens as usize,
            reused: finished.generation.reused_tokens as usize,
            recomputed: finished.generation.recomputed,
            prefill: Duration::from_micros(finished.generation.prefill_us.into()),
            decode: Duration::from_micros(finished.generation.decode_us.into()),
            stats: finished.stats,
        }
    }

    /// As it travels.
    pub(crate) fn finished(&self, plan: u64, request: u32, member: u8) -> Finished {
        let microseconds = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Finished {
            plan,
            request,
            member,
            stats: self.stats,
            finish_reason: match self.finish {
                Finish::Stop => FinishReason::Stop,
                Finish::Length => FinishReason::Length,
                Finish::Gone => FinishReason::Cancelled,
            },
            generation: astra_wire::GenerationStats {
                tokens: count(self.tokens),
                reused_tokens: count(self.reused),
                recomputed: self.recomputed,
                prefill_us: microseconds(self.prefill),
                decode_us: microseconds(self.decode),
            },
        }
    }
}

/// How tokens are chosen, as it travels.
pub(crate) fn generate(max_tokens: usize, sampling: &Sampling) -> GenerationParams {
    GenerationParams {
        max_tokens: u32::try_from(max_tokens).unwrap_or(u32::MAX),
        sampling: SamplingParams {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            repetition_penalty: sampling.repetition_penalty,
            seed: sampling.seed,
        },
    }
}

/// The same on its arrival.
pub(crate) fn sampling(sampling: &SamplingParams) -> Sampling {
    Sampling {
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        repetition_penalty: sampling.repetition_penalty,
        seed: sampling.seed,
    }
}
