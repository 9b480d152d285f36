//! What every question goes through on its way to an answer: its turn, members, a plan, and more tries where others are busy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{DeviceId, RequestOptions};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use crate::cluster::device::{Device, Engaged};
use crate::cluster::generation::conversation::CachedConversation;
use crate::cluster::membership::hello::Rejection;
use crate::cluster::placement::choose::{Placement, PlacementRequest};
use crate::cluster::placement::latency_history::LatencyHistory;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::work::{Attempted, RequestLimits, Work};
use crate::cluster::session::cancel::Abort;
use crate::cluster::session::set_up::{ActivePlan, SetUpError, set_up};
use crate::config::RequestDefaults;

/// Longest pause before the first repeated try; it grows with each.
const FIRST_BACK_OFF: Duration = Duration::from_millis(30);
/// Longest pause between two tries.
const MOST_BACK_OFF: Duration = Duration::from_millis(400);
/// Plans that are kept for the next request: one for each length of a text.
pub const PLANS: usize = 4;

/// Takes questions in, one at a time.
pub struct Coordinator {
    device: Arc<Device>,
    defaults: RequestDefaults,
    state: Mutex<CoordinatorState>,
    /// Pictures that are decoded at a time: one alone can take hundreds of megabytes.
    pub(crate) decoding: Arc<Semaphore>,
}

/// What is kept from one request to the next.
#[derive(Default)]
pub(crate) struct CoordinatorState {
    /// Least recently used first.
    plans: Vec<ActivePlan>,
    epoch: u16,
    experience: LatencyHistory,
    /// The last text that was generated, and where.
    pub(crate) conversation: Option<CachedConversation>,
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
    pub fn new(device: Arc<Device>, defaults: RequestDefaults) -> Self {
        Self {
            device,
            defaults,
            state: Mutex::default(),
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
    pub(crate) fn asked(&self, options: &RequestOptions) -> Result<RequestLimits, RequestError> {
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
        Ok(RequestLimits {
            asked,
            deadline: asked + time,
            rung,
            max_members,
            fixed_members: options.max_members > 0 || self.defaults.all_members,
        })
    }

    /// The default, or, in a bundle that has none such, the next below, else the next above, else exact mode.
    fn default_rung(&self) -> u16 {
        let default = self.defaults.rung.0;
        let rungs = self.device.bundle().manifest().rungs.iter();
        // Ascending, and no wider on the wire than 16 bits.
        let rungs: Vec<u16> = rungs.filter_map(|rung| rung.bits.try_into().ok()).collect();
        let below = rungs.iter().rev().find(|rung| **rung <= default);
        match default {
            0 => 0,
            _ => below.or(rungs.first()).copied().unwrap_or_default(),
        }
    }

    /// The state, once it is this question's turn, unless whoever asked has `gone` by then.
    pub(crate) async fn turn(
        &self,
        asked: &RequestLimits,
        gone: impl Future<Output = ()>,
    ) -> Result<MutexGuard<'_, CoordinatorState>, RequestError> {
        let state = tokio::time::timeout_at(asked.deadline.into(), self.state.lock());
        tokio::select! {
            biased;
            () = gone => Err(RequestError::Gone),
            state = state => state.map_err(|_| RequestError::Deadline(asked.time())),
        }
    }

    /// Tries the cluster until half of the time is gone; then one device has to do.
    pub(crate) async fn run_distributed<W: Work>(
        &self,
        state: &mut CoordinatorState,
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
            let attempt = self.attempt(state, work).await?;
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
    pub(crate) async fn alone<W: Work>(
        &self,
        work: &W,
        why: String,
    ) -> Result<W::Reply, RequestError> {
        let engaged = self.engage(work.asked().deadline).await;
        let _engaged = engaged.ok_or(RequestError::Deadline(work.asked().time()))?;
        work.alone(&self.device, why).await
    }

    pub(crate) async fn engage(&self, until: Instant) -> Option<Engaged> {
        self.device.engage(until).await
    }

    /// One try on the cluster as it is now.
    async fn attempt<W: Work>(
        &self,
        state: &mut CoordinatorState,
        work: &W,
    ) -> Result<Attempt<W::Reply>, RequestError> {
        let rung = work.asked().rung;
        let takes_alone = self.takes_alone(work);
        let placement = match self.members(state, work, takes_alone.is_some())? {
            Ok(placement) => placement,
            Err(why) => return Ok(Attempt::Alone(why.to_owned())),
        };
        let mut plan = match self.plan_for(state, placement, rung).await? {
            Ready::Plan(plan) => plan,
            Ready::Busy => return Ok(Attempt::Busy),
            Ready::Changed => return Ok(Attempt::Changed),
        };
        tracing::debug!(members = plan.placement.members.len(), "request begins");
        match work.run(&self.device, &mut plan).await? {
            Attempted::Done {
                reply,
                intact,
                took,
            } => {
                if let (Some(alone), Some(took)) = (takes_alone, took) {
                    let part = took.as_secs_f64() / alone.as_secs_f64();
                    let members = plan.placement.members.len();
                    state.experience.note(rung, members, part, Instant::now());
                }
                // Where something got lost, the next request makes sure of its members first.
                self.keep(state, plan, intact);
                Ok(Attempt::Done(reply))
            }
            Attempted::Abort(Abort::Busy { member, intact }) => {
                tracing::debug!(%member, "busy with another request");
                self.keep(state, plan, intact);
                Ok(Attempt::Busy)
            }
            Attempted::Abort(Abort::Stale { member }) => {
                tracing::debug!(%member, "no longer knows the plan");
                self.keep(state, plan, false);
                Ok(Attempt::Changed)
            }
            Attempted::Abort(Abort::Lost { member, why }) => {
                self.set_aside(member, why);
                self.keep(state, plan, false);
                Ok(Attempt::Changed)
            }
            Attempted::Abort(Abort::Own(text)) => Err(RequestError::Own(text)),
        }
    }

    /// Members that the work goes to, no more than were worth it in requests before where that is `free` to decide; or why this
    /// device is to do it alone.
    fn members<W: Work>(
        &self,
        state: &CoordinatorState,
        work: &W,
        free: bool,
    ) -> Result<Result<Placement, &'static str>, RequestError> {
        let usable = self.device.roster().usable();
        let (rung, placement_request) = (work.asked().rung, work.placement_request());
        let placement = work.choose(&self.device, &usable, placement_request)?;
        if placement.is_alone() {
            return Ok(Err(match placement_request.max_members {
                1 => "one member was asked for",
                _ if usable.is_empty() => "no other device of the cluster can be used",
                _ => work.alone_by_choice(),
            }));
        }
        let all = placement.members.len();
        let worth = state.experience.members(rung, all, Instant::now());
        if !free || worth >= all {
            return Ok(Ok(placement));
        }
        let fewer = PlacementRequest {
            max_members: worth,
            ..placement_request.clone()
        };
        let placement = work.choose(&self.device, &usable, &fewer)?;
        Ok(match placement.is_alone() {
            true => Err("the link is too slow for more"),
            false => Ok(placement),
        })
    }

    /// What this device takes alone, where that is known and the number of members is for it to choose.
    fn takes_alone<W: Work>(&self, work: &W) -> Option<Duration> {
        let given = work.asked().fixed_members || work.placement_request().shares.is_some();
        if given || self.device.speed <= 0.0 {
            return None;
        }
        Duration::try_from_secs_f64(work.seconds_alone(&self.device)).ok()
    }

    /// The plan at hand that suits, else a new one.
    async fn plan_for(
        &self,
        state: &mut CoordinatorState,
        placement: Placement,
        rung: u16,
    ) -> Result<Ready, RequestError> {
        let mut plans = state.plans.iter();
        if let Some(place) = plans.position(|plan| plan.suits(&placement, rung)) {
            return Ok(Ready::Plan(state.plans.remove(place)));
        }
        state.epoch = state.epoch.wrapping_add(1);
        let begun = Instant::now();
        match set_up(&self.device, placement, rung, state.epoch).await {
            Ok(plan) => {
                let took = begun.elapsed();
                tracing::debug!(ms = took.as_secs_f64() * 1e3, "plan set up");
                Ok(Ready::Plan(plan))
            }
            Err(SetUpError::Busy { member }) => {
                tracing::debug!(member, "busy with another request");
                Ok(Ready::Busy)
            }
            Err(SetUpError::Without(devices)) => {
                for (other, why) in devices {
                    self.set_aside(other, why);
                }
                Ok(Ready::Changed)
            }
            Err(SetUpError::Own(reason)) => Err(RequestError::Own(reason.to_string())),
        }
    }

    /// Keeps a plan for the next request, in place of the one unused for longest; or leaves it.
    fn keep(&self, state: &mut CoordinatorState, plan: ActivePlan, intact: bool) {
        if intact {
            state.plans.push(plan);
        } else {
            self.device.leave_plan(plan.slot.plan.id);
        }
        if state.plans.len() > PLANS {
            let oldest = state.plans.remove(0);
            self.device.leave_plan(oldest.slot.plan.id);
        }
    }

    fn set_aside(&self, other: DeviceId, why: Rejection) {
        let mut roster = self.device.roster();
        let name = roster.name_of(other);
        tracing::warn!(device = %other, name, %why, "device set aside");
        roster.set_aside(other, why);
    }
}
