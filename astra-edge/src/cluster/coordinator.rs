//! A question from its arrival to its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_bundle::BundleError;
use astra_wire::{AskOptions, DeviceId};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::assemble::assemble;
use super::choose::{Choice, ChooseError, Wish, choose};
use super::device::Device;
use super::hello::Why;
use super::request::{self, GivenUp, Harvest};
use super::setup::{ActivePlan, Unready, set_up};
use super::summary;
use crate::agreement::Agreement;
use crate::engine::{Answer, OwnedInput};
use crate::plan::TokenRange;
use crate::report::Report;
use crate::tasks::image::{ImageError, Prepared, prepare};
use crate::worker::WorkerError;

/// Share of the time left that members get: the rest is for the head and the way back.
const MEMBERS_SHARE: f64 = 0.9;
/// Longest pause before the first repeated try; it grows with each.
const FIRST_BACK_OFF: Duration = Duration::from_millis(30);
/// Longest pause between two tries.
const MOST_BACK_OFF: Duration = Duration::from_millis(400);
/// Runs of the whole model that a comparison times.
const COMPARISONS: usize = 3;

/// What is used where a question leaves it open.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// Bits per token per block; 0 in exact mode.
    pub rung: u16,
    /// Time until the answer is due.
    pub deadline: Duration,
    /// Most members; 0 for as many as there are.
    pub max_members: usize,
}

/// A client's question.
#[derive(Clone, Debug)]
pub struct Question {
    /// How it is to be answered.
    pub options: AskOptions,
    /// Tokens of each member, where the client says so.
    pub shares: Option<Vec<u16>>,
    /// The picture, as in its file.
    pub image: Vec<u8>,
}

/// An answer and what it took.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What it took.
    pub report: Report,
    /// The answer.
    pub answer: Answer,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// What was sent is no picture that can be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The bundle has no such rung.
    #[error(transparent)]
    Rung(#[from] BundleError),
    /// The tokens cannot be divided as asked.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// The model failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// This device's own part failed.
    #[error("this device's part failed: {0}")]
    Own(String),
    /// Shares that do not make up an answer.
    #[error("no member's share came, or one was not of its range")]
    Nothing,
    /// The device never got to it.
    #[error("not begun within {} ms: the device works on other requests", .0.as_millis())]
    Deadline(Duration),
    /// Part of the program ended early.
    #[error("stopped in the middle: {0}")]
    Stopped(String),
}

/// Takes questions in, one at a time.
pub struct Coordinator {
    device: Arc<Device>,
    defaults: Defaults,
    desk: Mutex<Desk>,
}

/// What is kept from one request to the next.
#[derive(Default)]
struct Desk {
    plan: Option<ActivePlan>,
    epoch: u16,
}

/// A question on its way.
struct Work {
    asked: Instant,
    deadline: Instant,
    rung: u16,
    wish: Wish,
    prepared: Prepared,
    input: Arc<OwnedInput>,
    prepare: Duration,
}

/// What an attempt on the cluster came to.
enum Attempt {
    Done(Box<Reply>),
    /// A device is busy: free everything and try again later.
    Busy,
    /// The cluster is not what it was: try again at once.
    Changed,
    /// Nobody else can take part.
    Alone(String),
}

/// Keeps other coordinators' requests away while it lives.
type Engaged = OwnedMutexGuard<()>;

impl Coordinator {
    /// Takes questions in for `device`.
    pub fn new(device: Arc<Device>, defaults: Defaults) -> Self {
        Self {
            device,
            defaults,
            desk: Mutex::default(),
        }
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Answers a question: on the cluster, or alone where nobody else can take part in time.
    ///
    /// # Errors
    /// The picture, rung or ranges are refused, this device's own part fails, or it does not get to the question in time.
    pub async fn answer(&self, question: Question) -> Result<Reply, RequestError> {
        let Question {
            options,
            shares,
            image,
        } = question;
        let work = self.begin(options, shares, image).await?;
        let time = work.deadline.saturating_duration_since(work.asked);
        let desk = tokio::time::timeout_at(work.deadline.into(), self.desk.lock());
        let mut desk = desk.await.map_err(|_| RequestError::Deadline(time))?;
        let mut reply = if options.alone {
            self.alone(&work, "as asked".to_owned()).await?
        } else {
            self.together(&mut desk, &work).await?
        };
        drop(desk);
        if options.compare {
            self.compare(&work, &mut reply).await?;
        }
        Ok(reply)
    }

    async fn begin(
        &self,
        options: AskOptions,
        shares: Option<Vec<u16>>,
        image: Vec<u8>,
    ) -> Result<Work, RequestError> {
        let asked = Instant::now();
        let time = match options.deadline_ms {
            0 => self.defaults.deadline,
            given => Duration::from_millis(given.into()),
        };
        let rung = options.rung.unwrap_or(self.defaults.rung);
        if rung != 0 {
            self.device.bundle().rung(rung.into())?;
        }
        let spec = self.device.input;
        let prepared = tokio::task::spawn_blocking(move || prepare(&image, &spec)).await;
        let mut prepared = prepared.map_err(|error| RequestError::Stopped(error.to_string()))??;
        let max_members = match options.max_members {
            0 => self.defaults.max_members,
            given => given.into(),
        };
        Ok(Work {
            asked,
            deadline: asked + time,
            rung,
            wish: Wish {
                tokens: self.device.tokens(),
                max_members,
                shares,
            },
            input: Arc::new(OwnedInput::Pixels(std::mem::take(&mut prepared.pixels))),
            prepared,
            prepare: asked.elapsed(),
        })
    }

    /// Tries the cluster until half of the time is gone; then one device has to do.
    async fn together(&self, desk: &mut Desk, work: &Work) -> Result<Reply, RequestError> {
        let give_up = work.asked + work.deadline.saturating_duration_since(work.asked) / 2;
        let mut back_off = FIRST_BACK_OFF;
        while Instant::now() < give_up {
            let Some(engaged) = self.engage(give_up).await else {
                break;
            };
            let attempt = self.attempt(desk, work).await?;
            drop(engaged);
            match attempt {
                Attempt::Done(reply) => return Ok(*reply),
                Attempt::Alone(why) => return self.alone(work, why).await,
                Attempt::Changed => {}
                Attempt::Busy => {
                    tokio::time::sleep(back_off.mul_f64(rand::random())).await;
                    back_off = (back_off * 2).min(MOST_BACK_OFF);
                }
            }
        }
        let why = "the other devices were busy, or came and went, for half of the time";
        self.alone(work, why.to_owned()).await
    }

    async fn engage(&self, until: Instant) -> Option<Engaged> {
        let engaged = Arc::clone(&self.device.engaged).lock_owned();
        tokio::time::timeout_at(until.into(), engaged).await.ok()
    }

    /// One try on the cluster as it is now.
    async fn attempt(&self, desk: &mut Desk, work: &Work) -> Result<Attempt, RequestError> {
        let device = &self.device;
        let usable = device.roster().usable();
        let choice = choose(&device.candidate(), &usable, &work.wish)?;
        if choice.is_alone() {
            let why = match work.wish.max_members {
                1 => "one member was asked for",
                _ if usable.is_empty() => "no other device of the cluster can be used",
                _ => "the other devices are too slow to own a token",
            };
            return Ok(Attempt::Alone(why.to_owned()));
        }
        match self.plan_for(desk, choice, work.rung).await? {
            Ok(plan) => self.run(desk, plan, work).await,
            Err(attempt) => Ok(attempt),
        }
    }

    /// The plan at hand if it suits, else a new one.
    async fn plan_for(
        &self,
        desk: &mut Desk,
        choice: Choice,
        rung: u16,
    ) -> Result<Result<ActivePlan, Attempt>, RequestError> {
        if let Some(plan) = desk.plan.take() {
            if plan.suits(&choice, rung) {
                return Ok(Ok(plan));
            }
            self.device.leave_seat(plan.seat.plan.id);
        }
        desk.epoch = desk.epoch.wrapping_add(1);
        match set_up(&self.device, choice, rung, desk.epoch).await {
            Ok(plan) => Ok(Ok(plan)),
            Err(Unready::Busy { member }) => {
                tracing::debug!(member, "busy with another request");
                Ok(Err(Attempt::Busy))
            }
            Err(Unready::Without(devices)) => {
                for (other, why) in devices {
                    self.set_aside(other, why);
                }
                Ok(Err(Attempt::Changed))
            }
            Err(Unready::Own(reason)) => Err(RequestError::Own(reason.to_string())),
        }
    }

    fn set_aside(&self, other: DeviceId, why: Why) {
        let mut roster = self.device.roster();
        let name = roster.name_of(other);
        tracing::warn!(device = %other, name, %why, "device set aside");
        roster.set_aside(other, why);
    }

    async fn run(
        &self,
        desk: &mut Desk,
        mut plan: ActivePlan,
        work: &Work,
    ) -> Result<Attempt, RequestError> {
        let begun = Instant::now();
        let time = work.deadline.saturating_duration_since(begun);
        let until = begun + time.mul_f64(MEMBERS_SHARE);
        tracing::debug!(members = plan.choice.members.len(), "request begins");
        let harvest = match request::run(&self.device, &mut plan, &work.input, until).await {
            Ok(harvest) => harvest,
            Err(GivenUp::Busy { member }) => {
                tracing::debug!(%member, "busy with another request");
                desk.plan = Some(plan);
                return Ok(Attempt::Busy);
            }
            Err(GivenUp::Stale { member }) => {
                tracing::debug!(%member, "no longer knows the plan");
                self.device.leave_seat(plan.seat.plan.id);
                return Ok(Attempt::Changed);
            }
            Err(GivenUp::Own(text)) => return Err(RequestError::Own(text)),
        };
        let reply = self.finish(&plan, &harvest, work, begun).await?;
        // Where something got lost, the next request makes sure of its members first.
        if reply.report.masked_tokens == 0 && reply.report.missing.is_empty() {
            desk.plan = Some(plan);
        } else {
            request::set_aside(&self.device, &plan, &harvest);
            self.device.leave_seat(plan.seat.plan.id);
        }
        Ok(Attempt::Done(Box::new(reply)))
    }

    async fn finish(
        &self,
        plan: &ActivePlan,
        harvest: &Harvest,
        work: &Work,
        begun: Instant,
    ) -> Result<Reply, RequestError> {
        let hidden = self.device.shape().hidden;
        let whole = assemble(&plan.choice.ranges, &harvest.shares, hidden);
        let whole = whole.ok_or(RequestError::Nothing)?;
        let missing: Vec<TokenRange> = whole.missing;
        let answer = self.device.worker.head(whole.cls, whole.patches).await?;
        let latency = begun.elapsed();
        let mut report = self.report(work, begun, latency, &answer);
        summary::of_members(&mut report, plan, harvest, self.device.shape());
        report.missing = missing.into_iter().map(Into::into).collect();
        Ok(Reply { report, answer })
    }

    /// The whole model on this device.
    async fn alone(&self, work: &Work, why: String) -> Result<Reply, RequestError> {
        let time = work.deadline.saturating_duration_since(work.asked);
        let engaged = self.engage(work.deadline).await;
        let _engaged = engaged.ok_or(RequestError::Deadline(time))?;
        let begun = Instant::now();
        let (answer, computed) = self
            .device
            .worker
            .whole(OwnedInput::clone(&work.input))
            .await?;
        let mut report = self.report(work, begun, begun.elapsed(), &answer);
        report.rung_bits = 0;
        report.members = vec![summary::alone(&self.device, computed)];
        report.alone = Some(why);
        Ok(Reply { report, answer })
    }

    fn report(&self, work: &Work, begun: Instant, latency: Duration, answer: &Answer) -> Report {
        let setup = begun.saturating_duration_since(work.asked);
        Report {
            rung_bits: work.rung,
            latency_ms: summary::milliseconds(latency),
            prepare_ms: summary::milliseconds(work.prepare),
            setup_ms: summary::milliseconds(setup.saturating_sub(work.prepare)),
            coordinator: self.device.name.clone(),
            classes: summary::classes(answer, &self.device.bundle().manifest().task),
            input: summary::input(&self.device.input, work.prepared.content),
            ..Report::default()
        }
    }

    /// The same on this device alone: best of a few runs, the first not counted.
    async fn compare(&self, work: &Work, reply: &mut Reply) -> Result<(), RequestError> {
        let time = work.deadline.saturating_duration_since(work.asked);
        // The question is answered; the comparison may take its own time.
        let engaged = self
            .engage(Instant::now() + time.max(Duration::from_secs(5)))
            .await;
        let _engaged = engaged.ok_or(RequestError::Deadline(time))?;
        let (one_device, _) = self
            .device
            .worker
            .whole(OwnedInput::clone(&work.input))
            .await?;
        let mut best = Duration::MAX;
        for _ in 0..COMPARISONS {
            let (_, took) = self
                .device
                .worker
                .whole(OwnedInput::clone(&work.input))
                .await?;
            best = best.min(took);
        }
        let hidden = self.device.shape().hidden;
        reply.report.one_device_latency_ms = Some(summary::milliseconds(best));
        reply.report.agreement = Some(Agreement::between(&reply.answer, &one_device, hidden));
        Ok(())
    }
}
