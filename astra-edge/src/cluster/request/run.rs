//! A request from its turn to its answer: members, a plan, and more attempts where members are busy or leave.

use std::time::{Duration, Instant};

use astra_wire::DeviceId;

use super::base::RequestBase;
use super::coordinator::{Coordinator, CoordinatorState, PLANS};
use super::distributed::{Attempted, DistributedRequest};
use super::error::RequestError;
use crate::cluster::membership::hello::Rejection;
use crate::cluster::placement::choose::{Placement, PlacementRequest};
use crate::cluster::session::cancel::Abort;
use crate::cluster::session::set_up::{ActivePlan, SetUpError, set_up};

/// Longest pause before the second attempt; it doubles with each.
const FIRST_BACK_OFF: Duration = Duration::from_millis(30);
/// Longest pause between two attempts.
const MAX_BACK_OFF: Duration = Duration::from_millis(400);

/// How an attempt on the cluster ended.
enum Attempt<R> {
    Done(R),
    /// A device is busy: release this one and try again later.
    Busy,
    /// The cluster has changed: try again at once.
    Changed,
    /// No other device can take part, or none should: why.
    Local(String),
}

/// A plan, or why there is none.
enum Ready {
    Plan(ActivePlan),
    /// A device is busy.
    Busy,
    /// Members were set aside: the cluster has changed.
    Changed,
}

impl Coordinator {
    /// Attempts the request on the cluster until half of its time is gone, then computes it on this device.
    pub(crate) async fn run_distributed<R: DistributedRequest>(
        &self,
        state: &mut CoordinatorState,
        request: &R,
    ) -> Result<R::Reply, RequestError> {
        let give_up = request.base().limits.arrived + request.base().limits.time() / 2;
        let mut back_off = FIRST_BACK_OFF;
        let mut why = "this device worked on other requests for half of the time";
        while Instant::now() < give_up {
            let Some(engaged) = self.engage(give_up).await else {
                break;
            };
            why = "the other devices were busy, or came and went, for half of the time";
            let attempt = self.attempt(state, request).await?;
            drop(engaged);
            match attempt {
                Attempt::Done(reply) => return Ok(reply),
                Attempt::Local(why) => return self.run_local(request, why).await,
                Attempt::Changed => {}
                Attempt::Busy => {
                    tokio::time::sleep(back_off.mul_f64(rand::random())).await;
                    back_off = (back_off * 2).min(MAX_BACK_OFF);
                }
            }
        }
        self.run_local(request, why.to_owned()).await
    }

    /// Computes the request on this device, once it works on no other.
    pub(crate) async fn run_local<R: DistributedRequest>(
        &self,
        request: &R,
        why: String,
    ) -> Result<R::Reply, RequestError> {
        let engaged = self.engage(request.base().limits.deadline).await;
        let _engaged = engaged.ok_or(RequestError::Deadline(request.base().limits.time()))?;
        request.run_local(self.device(), why).await
    }

    /// One attempt on the cluster as it is now.
    async fn attempt<R: DistributedRequest>(
        &self,
        state: &mut CoordinatorState,
        request: &R,
    ) -> Result<Attempt<R::Reply>, RequestError> {
        let base = request.base();
        let rung = base.limits.rung;
        let local_time = self.local_time(base);
        let placement = match self.members(state, base, local_time.is_some())? {
            Ok(placement) => placement,
            Err(why) => return Ok(Attempt::Local(why.to_owned())),
        };
        let mut plan = match self.plan_for(state, placement, rung).await? {
            Ready::Plan(plan) => plan,
            Ready::Busy => return Ok(Attempt::Busy),
            Ready::Changed => return Ok(Attempt::Changed),
        };
        tracing::debug!(members = plan.placement.members.len(), "request begins");
        match request.run(self.device(), &mut plan).await? {
            Attempted::Done {
                reply,
                intact,
                took,
            } => {
                if let (Some(local), Some(took)) = (local_time, took) {
                    let part = took.as_secs_f64() / local.as_secs_f64();
                    let members = plan.placement.members.len();
                    state
                        .latency_history
                        .note(rung, members, part, Instant::now());
                }
                // Where something was lost, the next request sets up a plan anew.
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

    /// The members of a request, no more than were worth it in earlier requests where their number is `free` to choose; `Err` says
    /// why this device computes it on its own.
    fn members(
        &self,
        state: &CoordinatorState,
        request: &RequestBase,
        free: bool,
    ) -> Result<Result<Placement, &'static str>, RequestError> {
        let usable = self.device().roster().usable();
        let wanted = &request.placement_request;
        let placement = request.place(self.device(), &usable, wanted)?;
        if placement.is_local() {
            return Ok(Err(match wanted.max_members {
                1 => "one member was requested",
                _ if usable.is_empty() => "no other device of the cluster can be used",
                _ => request.why_local(),
            }));
        }
        let all = placement.members.len();
        let history = &state.latency_history;
        let worth = history.members(request.limits.rung, all, Instant::now());
        if !free || worth >= all {
            return Ok(Ok(placement));
        }
        let fewer = PlacementRequest {
            max_members: worth,
            ..wanted.clone()
        };
        let placement = request.place(self.device(), &usable, &fewer)?;
        Ok(match placement.is_local() {
            true => Err("the link is too slow for more"),
            false => Ok(placement),
        })
    }

    /// How long this device takes on its own, where that is known and the number of members is free to choose.
    fn local_time(&self, request: &RequestBase) -> Option<Duration> {
        let given = request.limits.fixed_members || request.placement_request.shares.is_some();
        if given || self.device().speed <= 0.0 {
            return None;
        }
        Duration::try_from_secs_f64(request.local_seconds(self.device())).ok()
    }

    /// The plan kept from an earlier request that fits, else a new one.
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
        match set_up(self.device(), placement, rung, state.epoch).await {
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

    /// Keeps an intact plan for the next request, in place of the one unused for longest; leaves any other.
    fn keep(&self, state: &mut CoordinatorState, plan: ActivePlan, intact: bool) {
        if intact {
            state.plans.push(plan);
        } else {
            self.device().leave_plan(plan.slot.plan.id);
        }
        if state.plans.len() > PLANS {
            let oldest = state.plans.remove(0);
            self.device().leave_plan(oldest.slot.plan.id);
        }
    }

    fn set_aside(&self, other: DeviceId, why: Rejection) {
        let mut roster = self.device().roster();
        let name = roster.name_of(other);
        tracing::warn!(device = %other, name, %why, "device set aside");
        roster.set_aside(other, why);
    }
}
