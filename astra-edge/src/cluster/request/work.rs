//! What the coordinator knows of a question, of whichever kind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::device::Device;
use crate::cluster::membership::roster::Candidate;
use crate::cluster::placement::choose::{Placement, PlacementError, PlacementRequest};
use crate::cluster::request::collected::Collected;
use crate::cluster::request::collected::set_aside;
use crate::cluster::request::error::RequestError;
use crate::cluster::session::cancel::Abort;
use crate::cluster::session::set_up::ActivePlan;

/// Share of the time left that members get: the rest is for the head and the way back.
const MEMBERS_SHARE: f64 = 0.9;

/// When a question came, and what it leaves to no one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLimits {
    pub(crate) asked: Instant,
    pub(crate) deadline: Instant,
    pub(crate) rung: u16,
    pub(crate) max_members: usize,
    /// Whether the number of members is not this device's to choose.
    pub(crate) fixed_members: bool,
}

/// A question on its way, of whichever kind.
pub(crate) trait Work: Sync {
    type Reply: Send;

    /// When it came.
    fn asked(&self) -> &RequestLimits;

    /// What is asked of the placement of members.
    fn placement_request(&self) -> &PlacementRequest;

    /// The members, and what each owns.
    fn choose(
        &self,
        device: &Device,
        usable: &[Candidate],
        placement_request: &PlacementRequest,
    ) -> Result<Placement, PlacementError>;

    /// Seconds that this device takes alone, if its speed is as measured.
    fn seconds_alone(&self, device: &Device) -> f64;

    /// Why it is a question for one device, where others could take part.
    fn alone_by_choice(&self) -> &'static str;

    /// One try on a plan that stands.
    fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> impl Future<Output = Result<Attempted<Self::Reply>, RequestError>> + Send;

    /// The answer of this device alone, which nobody else keeps busy.
    fn alone(
        &self,
        device: &Arc<Device>,
        why: String,
    ) -> impl Future<Output = Result<Self::Reply, RequestError>> + Send;
}

/// What came of a try.
pub(crate) enum Attempted<R> {
    Done {
        reply: R,
        /// Whether nothing was lost: the plan can be used again.
        intact: bool,
        /// From when the plan stood until the members had answered, unless nobody waited for that.
        took: Option<Duration>,
    },
    Abort(Abort),
}

impl<R> Attempted<R> {
    /// The members have answered, as far as the collected says. Those whose share did not come are set aside.
    pub(crate) fn done(
        device: &Device,
        plan: &ActivePlan,
        collected: &Collected,
        reply: R,
        took: Option<Duration>,
    ) -> Self {
        set_aside(device, plan, collected);
        let intact = collected.is_intact();
        Self::Done {
            reply,
            intact,
            took,
        }
    }
}

impl RequestLimits {
    /// Time that was given.
    pub(crate) fn time(&self) -> Duration {
        self.deadline.saturating_duration_since(self.asked)
    }

    /// When members have to be done that begin now.
    pub(crate) fn members_until(&self, begun: Instant) -> Instant {
        let left = self.deadline.saturating_duration_since(begun);
        begun + left.mul_f64(MEMBERS_SHARE)
    }

    /// What is asked of the placement of members for so many tokens; `shares` as in [`PlacementRequest`].
    pub(crate) fn placement_request(
        &self,
        tokens: usize,
        shares: Option<Vec<u16>>,
    ) -> PlacementRequest {
        PlacementRequest {
            // No input is longer than 16 bits count.
            tokens: u16::try_from(tokens).unwrap_or(u16::MAX),
            max_members: self.max_members,
            shares,
        }
    }
}
