//! A part in a plan, and why a device does not take one.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::{ControlError, DeviceId};
use crate::MAX_MEMBERS;
use crate::header::check_range;

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

/// A part in a plan.
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
    /// Number of the member the offer is for.
    pub you: u8,
    /// Rung to use: bits per token per block, 0 in exact mode.
    pub rung: u16,
}

impl Offer {
    /// The member the offer is for; `None` if `you` is not one, which no parsed offer is.
    #[must_use]
    pub fn own(&self) -> Option<&Member> {
        self.members.get(usize::from(self.you))
    }

    pub(super) fn check(&self) -> Result<(), ControlError> {
        if self.members.is_empty() {
            return Err(ControlError::NoMembers);
        }
        if self.own().is_none() {
            return Err(ControlError::Member {
                found: self.you,
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

/// Why a device does not take part. The order is the number on the wire: new ones go last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// At work on another request.
    Busy,
    /// Has another bundle, or none.
    OtherBundle,
    /// Speaks no such wire version.
    OtherVersion,
    /// Has another cluster key.
    OtherKey,
    /// Its bundle has no such rung.
    UnknownRung,
    /// The token ranges do not suit the model.
    BadRange,
    /// Knows no such plan, or no longer.
    UnknownPlan,
    /// Something went wrong inside; its log says what.
    Internal,
}

impl Reason {
    /// Reasons there are.
    pub const COUNT: usize = 8;

    /// The reason in words.
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
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
