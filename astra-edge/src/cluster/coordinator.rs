//! What every question goes through on its way to an answer: its turn, members, a plan, and more tries where others are busy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{AskOptions, DeviceId};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::choose::{Choice, Wish};
use super::device::{Device, Engaged};
pub use super::error::RequestError;
use super::experience::Experience;
use super::hello::Why;
use super::request::GivenUp;
use super::setup::{ActivePlan, Unready, set_up};
use super::text::Spoke;
use super::work::{Asked, Ran, Work};

/// Longest pause before the first repeated try; it grows with each.
const FIRST_BACK_OFF: Duration = Duration::from_millis(30);
/// Longest pause between two tries.
const MOST_BACK_OFF: Duration = Duration::from_millis(400);
/// Plans that are kept for the next request: one for each length of a text.
pub const PLANS: usize = 4;

/// What is used where a question leaves it open.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// Bits per token per block; 0 in exact mode.
    pub rung: u16,
    /// Time until the answer is due.
    pub deadline: Duration,
    /// Most members; 0 for as many as there are.
    pub max_members: usize,
    /// Whether all take part even where requests have shown fewer, or this device alone, to be faster.
    pub all_members: bool,
}

/// Takes questions in, one at a time.
pub struct Coordinator {
    device: Arc<Device>,
    defaults: Defaults,
    desk: Mutex<Desk>,
    /// Pictures that are decoded at a time: one alone can take hundreds of megabytes.
    pub(super) decoding: Arc<Semaphore>,
}

/// What is kept from one request to the next.
#[derive(Default)]
pub(super) struct Desk {
    /// Least recently used first.
    plans: Vec<ActivePlan>,
    epoch: u16,
    experience: Experience,
    /// The last text that was generated, and where.
    pub(super) spoke: Option<Spoke>,
}

/// What an attempt on the cluster came to.
enum Attempt<R> {
    Done(R),
    /// A device is busy: free everything and try again later.
    Busy,
    /// The cluster is not what it was: try again at once.
    Changed,
    /// Nobody else can take part, or should.
    Alone(String),
}

/// What came of making a plan.
enum Ready {
    Plan(ActivePlan),
    /// A device is busy.
    Busy,
    /// Members were set aside: the cluster is not what it was.
    Changed,
}

impl Coordinator {
    /// Takes questions in for `device`.
    pub fn new(device: Arc<Device>, defaults: Defaults) -> Self {
        Self {
            device,
            defaults,
            desk: Mutex::default(),
            decoding: Arc::new(Semaphore::new(1)),
        }
    }

    /// The same for the device on another link.
    pub fn moved_to(&self, device: Arc<Device>) -> Self {
        Self::new(device, self.defaults)
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// What the question leaves open is filled in.
    pub(super) fn asked(&self, options: &AskOptions) -> Result<Asked, RequestError> {
        let asked = Instant::now();
        let time = match options.deadline_ms {
            0 => self.defaults.deadline,
            given => Duration::from_millis(given.into()),
        };
        let rung = match options.rung {
            Some(0) => 0,
            Some(wanted) => {
                self.device.bundle().rung(wanted.into())?;
                wanted
            }
            None => self.default_rung(),
        };
        let max_members = match options.max_members {
            0 => self.defaults.max_members,
            given => given.into(),
        };
        Ok(Asked {
            asked,
            deadline: asked + time,
            rung,
            max_members,
            insists: options.max_members > 0 || self.defaults.all_members,
        })
    }

    /// The default, or, in a bundle that has none such, the next below, else the next above, else exact mode.
    fn default_rung(&self) -> u16 {
        let default = self.defaults.rung;
        let rungs = self.device.bundle().manifest().rungs.iter();
        // Ascending, and no wider on the wire than 16 bits.
        let rungs: Vec<u16> = rungs.filter_map(|rung| rung.bits.try_into().ok()).collect();
        let below = rungs.iter().rev().find(|rung| **rung <= default);
        match default {
            0 => 0,
            _ => below.or(rungs.first()).copied().unwrap_or_default(),
        }
    }

    /// The desk, once it is this question's turn, unless whoever asked has `gone` by then.
    pub(super) async fn turn(
        &self,
        asked: &Asked,
        gone: impl Future<Output = ()>,
    ) -> Result<MutexGuard<'_, Desk>, RequestError> {
        let desk = tokio::time::timeout_at(asked.deadline.into(), self.desk.lock());
        tokio::select! {
            biased;
            () = gone => Err(RequestError::Gone),
            desk = desk => desk.map_err(|_| RequestError::Deadline(asked.time())),
        }
    }

    /// Tries the cluster until half of the time is gone; then one device has to do.
    pub(super) async fn together<W: Work>(
        &self,
        desk: &mut Desk,
        work: &W,
    ) -> Result<W::Reply, RequestError> {
        let give_up = work.asked().asked + work.asked().time() / 2;
        let mut back_off = FIRST_BACK_OFF;
        let mut why = "half of the time was gone before this device came to it";
        while Instant::now() < give_up {
            let Some(engaged) = self.engage(give_up).await else {
                break;
            };
            why = "the other devices were busy, or came and went, for half of the time";
            let attempt = self.attempt(desk, work).await?;
            drop(engaged);
            match attempt {
                Attempt::Done(reply) => return Ok(reply),
                Attempt::Alone(why) => return self.alone(work, why).await,
                Attempt::Changed => {}
                Attempt::Busy => {
                    tokio::time::sleep(back_off.mul_f64(rand::random())).await;
                    back_off = (back_off * 2).min(MOST_BACK_OFF);
                }
            }
        }
        self.alone(work, why.to_owned()).await
    }

    /// The answer of this device alone.
    pub(super) async fn alone<W: Work>(
        &self,
        work: &W,
        why: String,
    ) -> Result<W::Reply, RequestError> {
        let engaged = self.engage(work.asked().deadline).await;
        let _engaged = engaged.ok_or(RequestError::Deadline(work.asked().time()))?;
        work.alone(&self.device, why).await
    }

    pub(super) async fn engage(&self, until: Instant) -> Option<Engaged> {
        self.device.engage(until).await
    }

    /// One try on the cluster as it is now.
    async fn attempt<W: Work>(
        &self,
        desk: &mut Desk,
        work: &W,
    ) -> Result<Attempt<W::Reply>, RequestError> {
        let rung = work.asked().rung;
        let takes_alone = self.takes_alone(work);
        let choice = match self.members(desk, work, takes_alone.is_some())? {
            Ok(choice) => choice,
            Err(why) => return Ok(Attempt::Alone(why.to_owned())),
        };
        let mut plan = match self.plan_for(desk, choice, rung).await? {
            Ready::Plan(plan) => plan,
            Ready::Busy => return Ok(Attempt::Busy),
            Ready::Changed => return Ok(Attempt::Changed),
        };
        tracing::debug!(members = plan.choice.members.len(), "request begins");
        match work.run(&self.device, &mut plan).await? {
            Ran::Done { reply, sound, took } => {
                if let (Some(alone), Some(took)) = (takes_alone, took) {
                    let part = took.as_secs_f64() / alone.as_secs_f64();
                    let members = plan.choice.members.len();
                    desk.experience.note(rung, members, part, Instant::now());
                }
                // Where something got lost, the next request makes sure of its members first.
                self.keep(desk, plan, sound);
                Ok(Attempt::Done(reply))
            }
            Ran::GivenUp(GivenUp::Busy { member, sound }) => {
                tracing::debug!(%member, "busy with another request");
                self.keep(desk, plan, sound);
                Ok(Attempt::Busy)
            }
            Ran::GivenUp(GivenUp::Stale { member }) => {
                tracing::debug!(%member, "no longer knows the plan");
                self.keep(desk, plan, false);
                Ok(Attempt::Changed)
            }
            Ran::GivenUp(GivenUp::Lost { member, why }) => {
                self.set_aside(member, why);
                self.keep(desk, plan, false);
                Ok(Attempt::Changed)
            }
            Ran::GivenUp(GivenUp::Own(text)) => Err(RequestError::Own(text)),
        }
    }

    /// Members that the work goes to, no more than were worth it in requests before where that is `free` to decide; or why this
    /// device is to do it alone.
    fn members<W: Work>(
        &self,
        desk: &Desk,
        work: &W,
        free: bool,
    ) -> Result<Result<Choice, &'static str>, RequestError> {
        let usable = self.device.roster().usable();
        let (rung, wish) = (work.asked().rung, work.wish());
        let choice = work.choose(&self.device, &usable, wish)?;
        if choice.is_alone() {
            return Ok(Err(match wish.max_members {
                1 => "one member was asked for",
                _ if usable.is_empty() => "no other device of the cluster can be used",
                _ => work.alone_by_choice(),
            }));
        }
        let all = choice.members.len();
        let worth = desk.experience.members(rung, all, Instant::now());
        if !free || worth >= all {
            return Ok(Ok(choice));
        }
        let fewer = Wish {
            max_members: worth,
            ..wish.clone()
        };
        let choice = work.choose(&self.device, &usable, &fewer)?;
        Ok(match choice.is_alone() {
            true => Err("the link is too slow for more"),
            false => Ok(choice),
        })
    }

    /// What this device takes alone, where that is known and the number of members is for it to choose.
    fn takes_alone<W: Work>(&self, work: &W) -> Option<Duration> {
        let given = work.asked().insists || work.wish().shares.is_some();
        if given || self.device.speed <= 0.0 {
            return None;
        }
        Duration::try_from_secs_f64(work.seconds_alone(&self.device)).ok()
    }

    /// The plan at hand that suits, else a new one.
    async fn plan_for(
        &self,
        desk: &mut Desk,
        choice: Choice,
        rung: u16,
    ) -> Result<Ready, RequestError> {
        let mut plans = desk.plans.iter();
        if let Some(place) = plans.position(|plan| plan.suits(&choice, rung)) {
            return Ok(Ready::Plan(desk.plans.remove(place)));
        }
        desk.epoch = desk.epoch.wrapping_add(1);
        let begun = Instant::now();
        match set_up(&self.device, choice, rung, desk.epoch).await {
            Ok(plan) => {
                let took = begun.elapsed();
                tracing::debug!(ms = took.as_secs_f64() * 1e3, "plan set up");
                Ok(Ready::Plan(plan))
            }
            Err(Unready::Busy { member }) => {
                tracing::debug!(member, "busy with another request");
                Ok(Ready::Busy)
            }
            Err(Unready::Without(devices)) => {
                for (other, why) in devices {
                    self.set_aside(other, why);
                }
                Ok(Ready::Changed)
            }
            Err(Unready::Own(reason)) => Err(RequestError::Own(reason.to_string())),
        }
    }

    /// Keeps a plan for the next request, in place of the one unused for longest; or leaves it.
    fn keep(&self, desk: &mut Desk, plan: ActivePlan, sound: bool) {
        if sound {
            desk.plans.push(plan);
        } else {
            self.device.leave_seat(plan.seat.plan.id);
        }
        if desk.plans.len() > PLANS {
            let oldest = desk.plans.remove(0);
            self.device.leave_seat(oldest.seat.plan.id);
        }
    }

    fn set_aside(&self, other: DeviceId, why: Why) {
        let mut roster = self.device.roster();
        let name = roster.name_of(other);
        tracing::warn!(device = %other, name, %why, "device set aside");
        roster.set_aside(other, why);
    }
}
