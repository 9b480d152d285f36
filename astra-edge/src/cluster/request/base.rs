//! What every request has in common: its limits, and which devices may compute it.

use std::time::{Duration, Instant};

use crate::cluster::device::Device;
use crate::cluster::membership::roster::Candidate;
use crate::cluster::placement::choose::{Placement, PlacementError, PlacementRequest, choose};
use crate::cluster::placement::choose_text::choose_for_text;

/// Share of the time left that members get: the rest is for the head and the way back.
const MEMBERS_SHARE: f64 = 0.9;

/// The limits of a request: its options, with the defaults filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLimits {
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    /// Bits per token per block; 0 in exact mode.
    pub(crate) rung: u16,
    /// Most members; 0 for as many as there are.
    pub(crate) max_members: usize,
    /// Whether the number of members is given, rather than chosen by this device.
    pub(crate) fixed_members: bool,
}

impl RequestLimits {
    /// From arrival to deadline.
    pub(crate) fn time(&self) -> Duration {
        self.deadline.saturating_duration_since(self.arrived)
    }

    /// When members that begin now must be done.
    pub(crate) fn members_until(&self, begun: Instant) -> Instant {
        let left = self.deadline.saturating_duration_since(begun);
        begun + left.mul_f64(MEMBERS_SHARE)
    }
}

/// What is computed, as far as the choice of members depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input {
    /// An image: always as many tokens.
    Image,
    /// A text of this number of tokens, those that every member computes included.
    Text(usize),
}

/// A request, without what belongs to its kind.
#[derive(Clone, Debug)]
pub(crate) struct RequestBase {
    pub(crate) limits: RequestLimits,
    pub(crate) placement_request: PlacementRequest,
    input: Input,
}

impl RequestBase {
    /// `divided` tokens are divided among members; `shares` as in [`PlacementRequest`].
    pub(crate) fn new(
        limits: RequestLimits,
        input: Input,
        divided: usize,
        shares: Option<Vec<u16>>,
    ) -> Self {
        let placement_request = PlacementRequest {
            // No input is longer than 16 bits count.
            tokens: u16::try_from(divided).unwrap_or(u16::MAX),
            max_members: limits.max_members,
            shares,
        };
        Self {
            limits,
            placement_request,
            input,
        }
    }

    /// The members among this device and the `usable` ones, and what each owns, with at most as many members as `request` says.
    pub(crate) fn place(
        &self,
        device: &Device,
        usable: &[Candidate],
        request: &PlacementRequest,
    ) -> Result<Placement, PlacementError> {
        let own = device.candidate();
        match self.input {
            Input::Image => choose(&own, usable, request),
            Input::Text(_) if request.tokens == 0 && request.shares.is_none() => {
                Ok(Placement::local(own))
            }
            Input::Text(_) => {
                let model = device.text_model(self.limits.rung);
                choose_for_text(&own, usable, request, &model)
            }
        }
    }

    /// Seconds that this device needs on its own, if its speed is as measured.
    pub(crate) fn local_seconds(&self, device: &Device) -> f64 {
        match self.input {
            Input::Image => 1.0 / device.speed,
            Input::Text(tokens) => {
                let model = device.text_model(self.limits.rung);
                model.seconds_behind(0, tokens, device.speed)
            }
        }
    }

    /// Why one device computes it, where others could take part.
    pub(crate) fn why_local(&self) -> &'static str {
        match self.input {
            Input::Image => "the other devices are too slow to own a token",
            Input::Text(_) => "one device is faster for a text of this length",
        }
    }
}
