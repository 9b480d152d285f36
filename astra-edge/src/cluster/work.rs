//! What the coordinator knows of a question, of whichever kind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choose::{Choice, ChooseError, Wish};
use super::device::Device;
use super::error::RequestError;
use super::request::{self, GivenUp, Harvest};
use super::roster::Candidate;
use super::setup::ActivePlan;

/// Share of the time left that members get: the rest is for the head and the way back.
const MEMBERS_SHARE: f64 = 0.9;

/// When a question came, and what it leaves to no one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) asked: Instant,
    pub(super) deadline: Instant,
    pub(super) rung: u16,
    pub(super) max_members: usize,
    /// Whether the number of members is not this device's to choose.
    pub(super) insists: bool,
}

/// A question on its way, of whichever kind.
pub(super) trait Work: Sync {
    type Reply: Send;

    /// When it came.
    fn asked(&self) -> &Asked;

    /// What is asked of the choice of members.
    fn wish(&self) -> &Wish;

    /// The members, and what each owns.
    fn choose(
        &self,
        device: &Device,
        usable: &[Candidate],
        wish: &Wish,
    ) -> Result<Choice, ChooseError>;

    /// Seconds that this device takes alone, if its speed is as measured.
    fn seconds_alone(&self, device: &Device) -> f64;

    /// Why it is a question for one device, where others could take part.
    fn alone_by_choice(&self) -> &'static str;

    /// One try on a plan that stands.
    fn run(
        &self,
        device: &Arc<Device>,
        plan: &mut ActivePlan,
    ) -> impl Future<Output = Result<Ran<Self::Reply>, RequestError>> + Send;

    /// The answer of this device alone, which nobody else keeps busy.
    fn alone(
        &self,
        device: &Arc<Device>,
        why: String,
    ) -> impl Future<Output = Result<Self::Reply, RequestError>> + Send;
}

/// What came of a try.
pub(super) enum Ran<R> {
    Done {
        reply: R,
        /// Whether nothing was lost: the plan can be used again.
        sound: bool,
        /// From when the plan stood until the members had answered, unless nobody waited for that.
        took: Option<Duration>,
    },
    GivenUp(GivenUp),
}

impl<R> Ran<R> {
    /// The members have answered, as far as the harvest says. Those whose share did not come are set aside.
    pub(super) fn done(
        device: &Device,
        plan: &ActivePlan,
        harvest: &Harvest,
        reply: R,
        took: Option<Duration>,
    ) -> Self {
        request::set_aside(device, plan, harvest);
        let sound = harvest.is_sound();
        Self::Done { reply, sound, took }
    }
}

impl Asked {
    /// Time that was given.
    pub(super) fn time(&self) -> Duration {
        self.deadline.saturating_duration_since(self.asked)
    }

    /// When members have to be done that begin now.
    pub(super) fn members_until(&self, begun: Instant) -> Instant {
        let left = self.deadline.saturating_duration_since(begun);
        begun + left.mul_f64(MEMBERS_SHARE)
    }

    /// What is asked of the choice of members for so many tokens; `shares` as in [`Wish`].
    pub(super) fn wish(&self, tokens: usize, shares: Option<Vec<u16>>) -> Wish {
        Wish {
            // No input is longer than 16 bits count.
            tokens: u16::try_from(tokens).unwrap_or(u16::MAX),
            max_members: self.max_members,
            shares,
        }
    }
}
