//! Setting up a plan: the offer of a part in it, and why a device refuses.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::checks::check_member;
use super::hello::DeviceId;
use crate::error::ControlError;
use crate::limits::{MAX_MEMBERS, SECRET};
use crate::token_range::check_range;

/// One member of a plan and the tokens it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The device.
    pub device: DeviceId,
    /// First token of its range.
    pub first_token: u16,
    /// Tokens of its range, at least 1.
    pub tokens: u16,
}

/// Offers a device a part in a plan. Answered by [`Control::Accept`](super::Control::Accept) or
/// [`Control::Refuse`](super::Control::Refuse). The version the offer is written in is that of the plan: every message and code frame
/// of the plan is written in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The plan.
    pub plan: u64,
    /// Its epoch, sent in every code frame.
    pub epoch: u16,
    /// Hash of the bundle to use.
    pub bundle: [u8; 32],
    /// All members, by their number. Their ranges follow each other without gap or overlap.
    pub members: Vec<Member, MAX_MEMBERS>,
    /// Number of the member that the offer is sent to.
    pub recipient: u8,
    /// Rung to use: bits per token per block, 0 in exact mode.
    pub rung: u16,
    /// Number of the member that coordinates the plan: without it the plan has no use.
    pub coordinator: u8,
    /// What a message must have that ends a request of the plan. Unlike the plan's number, which is in names of keys, nobody but the
    /// members is told.
    pub secret: [u8; SECRET],
}

impl Offer {
    /// The device that coordinates the plan; `None` if there is no such member, which a parsed offer always has.
    #[must_use]
    pub fn coordinator(&self) -> Option<DeviceId> {
        let member = self.members.get(usize::from(self.coordinator));
        member.map(|member| member.device)
    }

    /// The member that the offer is sent to; `None` if there is no such member, which a parsed offer always has.
    #[must_use]
    pub fn own(&self) -> Option<&Member> {
        self.members.get(usize::from(self.recipient))
    }

    pub(super) fn check(&self) -> Result<(), ControlError> {
        if self.members.is_empty() {
            return Err(ControlError::NoMembers);
        }
        if self.own().is_none() {
            return Err(ControlError::Member {
                found: self.recipient,
                max: self.members.len(),
            });
        }
        if usize::from(self.coordinator) >= self.members.len() {
            return Err(ControlError::Member {
                found: self.coordinator,
                max: self.members.len(),
            });
        }
        let mut end = None;
        for (index, member) in (0_u8..).zip(&self.members) {
            self.check_member(index, member, end)?;
            end = Some(u32::from(member.first_token) + u32::from(member.tokens));
        }
        Ok(())
    }

    /// Checks one member; `expected` is where the range before it ends.
    fn check_member(
        &self,
        index: u8,
        member: &Member,
        expected: Option<u32>,
    ) -> Result<(), ControlError> {
        check_range(member.first_token, member.tokens)
            .map_err(|source| ControlError::Range { index, source })?;
        if let Some(expected) = expected
            && expected != u32::from(member.first_token)
        {
            return Err(ControlError::NotContiguous {
                index,
                found: member.first_token,
                expected,
            });
        }
        let mut earlier = self.members.iter().take(usize::from(index));
        if earlier.any(|other| other.device == member.device) {
            return Err(ControlError::SameDevice { index });
        }
        Ok(())
    }
}

/// Shows that code frames of the sender arrive: each member publishes it on its code key at the request of
/// [`Control::Probe`](super::Control::Probe).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFrame {
    /// The plan.
    pub plan: u64,
    /// The member that sends it.
    pub sender: u8,
}

impl ProbeFrame {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_member(self.sender)
    }
}

/// Why a device refuses a message. The order is the number on the wire: new ones go last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// Working on another request.
    Busy,
    /// Has another bundle, or none.
    OtherBundle,
    /// Does not read the version of the message.
    OtherVersion,
    /// Has another cluster key.
    OtherKey,
    /// Its bundle has no such rung.
    UnknownRung,
    /// The token ranges do not suit the model.
    BadRange,
    /// The plan is not set up, or no longer; or the KV cache has no part of the text to be resumed.
    UnknownPlan,
    /// An internal error, which is in the device's log.
    Internal,
    /// A member of the plan, or its coordinator, is not among the devices that this one sees.
    UnknownMember,
}

impl Reason {
    /// Number of variants.
    pub const COUNT: usize = 9;

    /// The reason as it stands in error texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::OtherBundle => "other bundle",
            Self::OtherVersion => "other wire version",
            Self::OtherKey => "other cluster key",
            Self::UnknownRung => "unknown rung",
            Self::BadRange => "token range does not suit the model",
            Self::UnknownPlan => "unknown plan",
            Self::Internal => "internal error",
            Self::UnknownMember => "a member of the plan is not there",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
