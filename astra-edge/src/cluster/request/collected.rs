//! What the members of a request sent back, and what it cost each of them.

use astra_wire::{MemberStats, Reason};

use crate::cluster::device::Device;
use crate::cluster::member::outcome::PartOutcome;
use crate::cluster::member::share::Share;
use crate::cluster::membership::hello::Rejection;
use crate::cluster::session::cancel::Abort;
use crate::cluster::session::set_up::ActivePlan;

/// Shares and costs of a request, by member.
#[derive(Debug)]
pub struct Collected {
    /// Shares that arrived.
    pub shares: Vec<Option<Share>>,
    /// Costs and failures.
    pub accounts: Vec<Account>,
}

/// What a member cost, and why its share did not arrive.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Times and bytes on the member.
    pub stats: MemberStats,
    /// Bytes of its input on the wire.
    pub input_bytes: u64,
    /// Bytes of its share on the wire.
    pub result_bytes: u64,
    /// Why its share did not arrive.
    pub failure: Option<String>,
}

impl Collected {
    /// No share yet, of `members` members.
    pub(crate) fn new(members: usize) -> Self {
        Self {
            shares: vec![None; members],
            accounts: vec![Account::default(); members],
        }
    }

    /// Whether every member replied and had all codes of the others.
    pub(crate) fn is_intact(&self) -> bool {
        let intact =
            |account: &Account| account.failure.is_none() && account.stats.masked_tokens == 0;
        self.accounts.iter().all(intact)
    }
}

/// Enters how a member's part ended. A refusal ends the request: the other members would wait for one that never begins.
pub(crate) fn note(
    collected: &mut Collected,
    active: &ActivePlan,
    number: usize,
    input_bytes: u64,
    end: PartOutcome,
) -> Result<(), Abort> {
    let own = number == active.placement.me;
    let intact = collected.is_intact();
    let member = active.placement.members.get(number).map(|m| m.device);
    let (Some(account), Some(place), Some(member)) = (
        collected.accounts.get_mut(number),
        collected.shares.get_mut(number),
        member,
    ) else {
        let text = format!("part of member {number}: found a plan without that member");
        return Err(Abort::Own(text));
    };
    account.input_bytes = input_bytes;
    match end {
        PartOutcome::Share(share, stats, result_bytes) => {
            account.stats = stats;
            account.result_bytes = result_bytes;
            *place = Some(share);
        }
        PartOutcome::Refused(Reason::Busy) => return Err(Abort::Busy { member, intact }),
        PartOutcome::Refused(Reason::UnknownPlan) => return Err(Abort::Stale { member }),
        PartOutcome::Failed(text) if own => return Err(Abort::Own(text)),
        PartOutcome::Refused(reason) => absent(account, active, number, reason.to_string()),
        PartOutcome::Failed(text) | PartOutcome::Silent(text) => {
            absent(account, active, number, text)
        }
    }
    Ok(())
}

/// This device's part stops waiting for a member that sends nothing more.
fn absent(account: &mut Account, active: &ActivePlan, number: usize, why: String) {
    account.failure = Some(why);
    active.slot.member_left(number);
}

/// Marks members whose share did not arrive as unusable until their next hello.
pub(crate) fn set_aside(device: &Device, active: &ActivePlan, collected: &Collected) {
    for ((number, member), account) in
        (active.placement.members.iter().enumerate()).zip(&collected.accounts)
    {
        if let Some(failure) = account
            .failure
            .as_ref()
            .filter(|_| number != active.placement.me)
        {
            let why = Rejection::Unreachable(failure.clone());
            device.roster().set_aside(member.device, why);
        }
    }
}

#[cfg(test)]
#[path = "collected_tests.rs"]
mod tests;
