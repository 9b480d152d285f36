//! The plan of a request, and the prediction of its latency.

pub mod codes;
pub mod latency;
pub mod profile;

use astra_model::partition::TokenRange;
use astra_wire::MAX_MEMBERS;

/// What the members of a request have agreed on. Requests reuse it until the members or their measured speeds change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Random identifier of the plan.
    pub id: u64,
    /// Wire version of everything that its members send each other for it.
    pub version: u8,
    /// Number of the plan at its coordinator, which distinguishes frames of older plans.
    pub epoch: u16,
    /// Bits per token per block; 0 in exact mode.
    pub rung: u16,
    /// Whether a token attends only to itself and the tokens before it: members then receive only from earlier members.
    pub causal: bool,
    /// Token range of each member.
    pub ranges: Vec<TokenRange>,
}

impl Plan {
    /// Bit mask of the members from which a member receives codes.
    pub fn senders(&self, member: usize) -> u16 {
        // At most 16 members, so that the shifts stay below the width.
        let all = mask(self.ranges.len());
        if self.causal {
            all & mask(member)
        } else {
            all & !(1 << member.min(MAX_MEMBERS - 1))
        }
    }

    /// Number of members that receive a member's codes.
    pub fn receivers(&self, member: usize) -> usize {
        let members = self.ranges.len();
        let others = members.saturating_sub(1);
        if self.causal {
            others.saturating_sub(member)
        } else {
            others
        }
    }

    /// Number of divided tokens.
    pub fn tokens(&self) -> usize {
        self.ranges.last().map_or(0, TokenRange::end)
    }

    /// Number of other members' tokens that a member attends to.
    pub fn remote_tokens(&self, member: usize) -> usize {
        let range = self.ranges.get(member);
        range.map_or(0, |range| range.remote_tokens(self.tokens(), self.causal))
    }
}

/// Bit mask of the first `members` members.
fn mask(members: usize) -> u16 {
    ((1_u32 << members.min(MAX_MEMBERS)) - 1) as u16
}

#[cfg(test)]
mod tests {
    use astra_model::partition::split;

    use super::*;

    #[test]
    fn causal_members_receive_from_earlier_members() {
        let plan = |causal| Plan {
            id: 1,
            version: astra_wire::VERSION,
            epoch: 1,
            rung: 0,
            causal,
            ranges: split(10, &[1.0; 4]).unwrap(),
        };
        let of = |causal, member| {
            let plan = plan(causal);
            let remote = plan.remote_tokens(member);
            (plan.senders(member), plan.receivers(member), remote)
        };
        assert_eq!(of(true, 0), (0, 3, 0));
        assert_eq!(of(true, 2), (0b0011, 1, 5));
        assert_eq!(of(true, 3), (0b0111, 0, 8));
        assert_eq!(of(false, 0), (0b1110, 3, 7));
        assert_eq!(of(false, 3), (0b0111, 3, 8));
    }
}
