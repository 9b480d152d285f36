//! A plan that every member accepted, and in which codes pass between all members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, DeviceId, Member, Offer, Reason, VersionError, Versions};
use tokio::task::JoinSet;

use crate::cluster::device::Device;
use crate::cluster::device::slot::PlanSlot;
use crate::cluster::membership::hello::Rejection;
use crate::cluster::placement::choose::Placement;
use crate::cluster::session::cancel::Cancellation;

/// How long a member may take to join.
const OFFER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the first codes may take to reach all members.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two rounds of probes.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// A plan that is ready for requests.
pub struct ActivePlan {
    /// Members and ranges.
    pub placement: Placement,
    /// The coordinator's own slot.
    pub slot: Arc<PlanSlot>,
    next_request: u32,
}

impl PlanSlot {
    /// What its members end a request for.
    pub(crate) fn cancellation(&self, request: u32) -> Cancellation {
        Cancellation {
            version: self.plan.version,
            plan: self.plan.id,
            request,
            secret: self.secret,
        }
    }
}

/// Why a plan was not set up.
#[derive(Debug)]
pub enum SetUpError {
    /// A member works on another request.
    Busy {
        /// Its name.
        member: String,
    },
    /// These members cannot take part; a plan without them may succeed.
    Without(Vec<(DeviceId, Rejection)>),
    /// This device cannot join its own plan.
    Own(Reason),
}

impl ActivePlan {
    pub(crate) fn new(placement: Placement, slot: Arc<PlanSlot>) -> Self {
        Self {
            placement,
            slot,
            next_request: 0,
        }
    }

    /// Whether the plan has this placement and rung.
    pub fn suits(&self, placement: &Placement, rung: u16) -> bool {
        self.placement == *placement && self.slot.plan.rung == rung && self.next_request < u32::MAX
    }

    /// The next request's number, higher than that of any before, cancelled ones included.
    pub fn number_request(&mut self) -> u32 {
        let number = self.next_request;
        self.next_request += 1;
        number
    }
}

/// Offers the plan to all members and waits until codes pass between them.
///
/// # Errors
/// [`SetUpError`]. Members that already joined receive no frames for the plan: its id is never used again.
pub async fn set_up(
    device: &Arc<Device>,
    placement: Placement,
    rung: u16,
    epoch: u16,
) -> Result<ActivePlan, SetUpError> {
    let version = common_version(device, &placement)?;
    let offer = offer(device, &placement, rung, epoch);
    let own = device.join_plan(&offer, version).await;
    let slot = own.map_err(SetUpError::Own)?;
    let ready = async {
        offer_to_others(device, &placement, &offer, version).await?;
        until_connected(device, &placement, &slot).await
    };
    match ready.await {
        Ok(()) => Ok(ActivePlan::new(placement, slot)),
        Err(unready) => {
            device.leave_plan(offer.plan);
            Err(unready)
        }
    }
}

/// The newest wire version that all members read.
///
/// # Errors
/// There is none: without the members that are too old for another one there is.
fn common_version(device: &Device, placement: &Placement) -> Result<u8, SetUpError> {
    let roster = device.roster();
    // A member that has left meanwhile gets its offer too, and does not answer it.
    let versions = others(placement)
        .filter_map(|(_, other)| Some((other, roster.versions_of(other)?)))
        .collect::<Vec<_>>();
    let too_old = |(other, rejection)| (other, Rejection::Refused(format!("{rejection}")));
    newest_common(device.membership().versions(), &versions)
        .map_err(|old| SetUpError::Without(old.into_iter().map(too_old).collect()))
}

/// The newest version of `ours` and all others'; else the devices that are too old for another one.
fn newest_common<D: Copy>(
    ours: Versions,
    others: &[(D, Versions)],
) -> Result<u8, Vec<(D, VersionError)>> {
    let needed = others.iter().map(|(_, versions)| versions.min);
    let needed = needed.fold(ours.min, u8::max);
    let newest = others.iter().map(|(_, versions)| versions.max);
    let newest = newest.fold(ours.max, u8::min);
    if needed <= newest {
        return Ok(newest);
    }
    let old = others.iter().filter(|(_, versions)| versions.max < needed);
    let error = |newest| VersionError::PeerTooOld { newest, needed };
    Err(old
        .map(|(device, versions)| (*device, error(versions.max)))
        .collect())
}

/// The offer as it goes to this device; the others' differ in the recipient.
fn offer(device: &Device, placement: &Placement, rung: u16, epoch: u16) -> Offer {
    let members = placement.members.iter().zip(&placement.ranges);
    Offer {
        plan: rand::random(),
        epoch,
        bundle: device.membership.requirements().bundle,
        // A placement has no more members than an offer holds.
        members: members
            .map(|(member, range)| Member {
                device: member.device,
                first_token: range.first,
                tokens: range.tokens,
            })
            .collect(),
        recipient: placement.me as u8,
        rung,
        coordinator: placement.me as u8,
        secret: rand::random(),
    }
}

/// The other members of a placement, with their numbers.
pub(crate) fn others(placement: &Placement) -> impl Iterator<Item = (usize, DeviceId)> {
    let members = placement.members.iter().map(|member| member.device);
    members
        .enumerate()
        .filter(|(number, _)| *number != placement.me)
}

async fn offer_to_others(
    device: &Arc<Device>,
    placement: &Placement,
    offer: &Offer,
    version: u8,
) -> Result<(), SetUpError> {
    let mut replies = JoinSet::new();
    for (number, other) in others(placement) {
        let message = Control::Offer(Offer {
            recipient: number as u8,
            ..offer.clone()
        });
        let device = Arc::clone(device);
        replies.spawn(async move { (other, offer_to(&device, other, version, &message).await) });
    }
    let (mut busy, mut without) = (None, Vec::new());
    while let Some(answer) = replies.join_next().await {
        match answer {
            Ok((_, Ok(()))) => {}
            Ok((other, Err(Some(why)))) => without.push((other, why)),
            Ok((other, Err(None))) => busy = Some(other),
            Err(error) => tracing::debug!(%error, "an offer's task ended early"),
        }
    }
    // Members that cannot take part are reported first: without them the next attempt may find none busy.
    if !without.is_empty() {
        return Err(SetUpError::Without(without));
    }
    match busy {
        Some(other) => Err(SetUpError::Busy {
            member: device.roster().name_of(other),
        }),
        None => Ok(()),
    }
}

/// `Err(None)` means busy.
async fn offer_to(
    device: &Device,
    other: DeviceId,
    version: u8,
    message: &Control<'_>,
) -> Result<(), Option<Rejection>> {
    let answer = device
        .request(other, version, message, OFFER_TIMEOUT)
        .await?;
    match Control::parse(&answer) {
        Ok(Control::Accept { .. }) => Ok(()),
        Ok(Control::Refuse {
            reason: Reason::Busy,
            ..
        }) => Err(None),
        Ok(Control::Refuse { reason, .. }) => Err(Some(Rejection::Refused(reason.to_string()))),
        Ok(_) => Err(Some(Rejection::Refused(
            "a reply of another kind than expected".to_owned(),
        ))),
        Err(error) => Err(Some(Rejection::Refused(error.to_string()))),
    }
}

/// Sends rounds of probes until every member has received one from each of its senders.
async fn until_connected(
    device: &Arc<Device>,
    placement: &Placement,
    slot: &PlanSlot,
) -> Result<(), SetUpError> {
    let until = Instant::now() + PROBE_TIMEOUT;
    loop {
        let probed = probe_round(device, placement, slot).await;
        let broken = members_to_drop(&probed, |member| slot.plan.senders(member), placement.me);
        if broken.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            let why = || Rejection::Unreachable("codes do not pass between all members".to_owned());
            let devices = others(placement).filter(|(number, _)| broken.contains(number));
            return Err(SetUpError::Without(
                devices.map(|(_, device)| (device, why())).collect(),
            ));
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}

/// Senders whose probe each member received, as bit masks by member.
async fn probe_round(device: &Arc<Device>, placement: &Placement, slot: &PlanSlot) -> Vec<u16> {
    let (plan, epoch, version) = (slot.plan.id, slot.plan.epoch, slot.plan.version);
    let mut replies = JoinSet::new();
    for (number, other) in others(placement) {
        let device = Arc::clone(device);
        replies.spawn(async move {
            let message = Control::Probe { plan, epoch };
            let answer = device
                .request(other, version, &message, PROBE_TIMEOUT)
                .await;
            let probed = match answer.as_deref().map(Control::parse) {
                Ok(Ok(Control::ProbeReply { received, .. })) => received,
                _ => 0,
            };
            (number, probed)
        });
    }
    let mut probed = vec![0; placement.members.len()];
    let own = slot.probe().await.unwrap_or_default();
    let mut set = |number: usize, mask: u16| {
        if let Some(place) = probed.get_mut(number) {
            *place = mask;
        }
    };
    set(placement.me, own);
    while let Some(answer) = replies.join_next().await {
        if let Ok((number, mask)) = answer {
            set(number, mask);
        }
    }
    probed
}

/// Members to leave out so that the remaining ones receive from all of their `senders`: greedily those with the most broken links, so
/// about as few as possible. The coordinator, `me`, stays.
fn members_to_drop(probed: &[u16], senders: impl Fn(usize) -> u16, me: usize) -> Vec<usize> {
    let mut left_out: Vec<usize> = Vec::new();
    loop {
        let receives = |a: usize, b: usize| {
            let probed = probed.get(a).copied().unwrap_or_default();
            (probed | !senders(a)) & (1 << b) != 0
        };
        let left: Vec<usize> = (0..probed.len())
            .filter(|m| !left_out.contains(m))
            .collect();
        let broken_links = |member: usize| {
            left.iter()
                .filter(|&&other| other != member)
                .map(|&other| {
                    usize::from(!receives(member, other)) + usize::from(!receives(other, member))
                })
                .sum::<usize>()
        };
        let worst = left
            .iter()
            .copied()
            .filter(|&member| member != me)
            .max_by_key(|&member| broken_links(member));
        match worst {
            Some(member) if broken_links(member) > 0 => left_out.push(member),
            _ => return left_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_in_the_newest_version_that_all_members_read() {
        let range = |min, max| Versions { min, max };
        let common = |ours, others: &[Versions]| {
            let others: Vec<_> = others.iter().copied().enumerate().collect();
            newest_common(ours, &others)
        };
        assert_eq!(common(range(2, 4), &[]), Ok(4));
        assert_eq!(common(range(2, 4), &[range(1, 3), range(3, 9)]), Ok(3));
        assert_eq!(common(range(2, 2), &[range(2, 3), range(1, 2)]), Ok(2));
        // Each has a version in common with this device, but not with each other.
        let too_old = |newest, needed| VersionError::PeerTooOld { newest, needed };
        assert_eq!(
            common(
                range(2, 4),
                &[range(4, 5), range(1, 2), range(2, 3), range(2, 4)]
            ),
            Err(vec![(1, too_old(2, 4)), (2, too_old(3, 4))])
        );
    }

    fn members_to_drop(probed: &[u16], me: usize) -> Vec<usize> {
        super::members_to_drop(probed, |member| !(1 << member), me)
    }

    #[test]
    fn in_a_causal_plan_members_hear_those_left_of_them() {
        let left = |member: usize| (1 << member) - 1;
        assert!(super::members_to_drop(&[0b000, 0b001, 0b011], left, 1).is_empty());
        assert_eq!(
            super::members_to_drop(&[0b000, 0b001, 0b001], left, 0).len(),
            1
        );
        assert_eq!(super::members_to_drop(&[0b000, 0b000, 0b011], left, 1), [0]);
    }

    #[test]
    fn nobody_is_blamed_when_all_hear() {
        assert!(members_to_drop(&[0b110, 0b101, 0b011], 0).is_empty());
        // A member's own probe does not matter.
        assert!(members_to_drop(&[0b111, 0b111, 0b111], 2).is_empty());
        assert!(members_to_drop(&[0], 0).is_empty());
    }

    #[test]
    fn the_silent_one_is_blamed() {
        // No member receives from member 2.
        assert_eq!(members_to_drop(&[0b010, 0b001, 0b011], 0), [2]);
        // Member 1 receives from none.
        assert_eq!(members_to_drop(&[0b110, 0b000, 0b011], 0), [1]);
        // The coordinator stays in its own plan: the others are left out.
        let mut left_out = members_to_drop(&[0b000, 0b100, 0b010], 0);
        left_out.sort_unstable();
        assert_eq!(left_out, [1, 2]);
    }

    #[test]
    fn one_broken_pair_costs_one_member() {
        // Only the link from 2 to 1 is broken.
        assert_eq!(
            members_to_drop(&[0b1110, 0b1001, 0b1011, 0b0111], 0).len(),
            1
        );
        // Of a broken link to the coordinator, the other end is left out.
        assert_eq!(members_to_drop(&[0b1010, 0b1101, 0b1011, 0b0111], 0), [2]);
    }
}
