//! A plan that every member accepted, and in which codes pass between all members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, DeviceId, Member, Offer, Reason};
use tokio::task::JoinSet;

use crate::cluster::device::Device;
use crate::cluster::device::slot::PlanSlot;
use crate::cluster::membership::hello::Rejection;
use crate::cluster::placement::choose::Placement;

/// How long a member may take to prepare its place.
const OFFER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long codes may take to reach everybody for the first time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two rounds of probes.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// A plan that is ready for requests.
pub struct ActivePlan {
    /// Members and ranges.
    pub placement: Placement,
    /// The coordinator's own place.
    pub slot: Arc<PlanSlot>,
    next_request: u32,
}

/// Rejection a plan is not ready.
#[derive(Debug)]
pub enum SetUpError {
    /// A member works on another request.
    Busy {
        /// Its name.
        member: String,
    },
    /// These members cannot take part; others may.
    Without(Vec<(DeviceId, Rejection)>),
    /// This device itself has no place to give.
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

    /// Whether the plan is the one to use for this placement.
    pub fn suits(&self, placement: &Placement, rung: u16) -> bool {
        self.placement == *placement && self.slot.plan.rung == rung && self.next_request < u32::MAX
    }

    /// Number for the next request: each later one is higher, also after one that was given up.
    pub fn number_request(&mut self) -> u32 {
        let number = self.next_request;
        self.next_request += 1;
        number
    }
}

/// Offers everybody its place and waits until all hear each other.
///
/// # Errors
/// [`SetUpError`]; no member is then left with a place it would keep frames for: the plan's id is never used again.
pub async fn set_up(
    device: &Arc<Device>,
    placement: Placement,
    rung: u16,
    epoch: u16,
) -> Result<ActivePlan, SetUpError> {
    let offer = offer(device, &placement, rung, epoch);
    let own = device.join_plan(&offer).await;
    let slot = own.map_err(SetUpError::Own)?;
    let ready = async {
        offer_to_others(device, &placement, &offer).await?;
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
) -> Result<(), SetUpError> {
    let mut asked = JoinSet::new();
    for (number, other) in others(placement) {
        let message = Control::Offer(Offer {
            recipient: number as u8,
            ..offer.clone()
        });
        let device = Arc::clone(device);
        asked.spawn(async move { (other, ask_one(&device, other, &message).await) });
    }
    let (mut busy, mut without) = (None, Vec::new());
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok((_, Ok(()))) => {}
            Ok((other, Err(Some(why)))) => without.push((other, why)),
            Ok((other, Err(None))) => busy = Some(other),
            Err(error) => tracing::debug!(%error, "an offer's task ended early"),
        }
    }
    // Those who cannot take part at all go first: without them the next try may find nobody busy.
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
async fn ask_one(
    device: &Device,
    other: DeviceId,
    message: &Control<'_>,
) -> Result<(), Option<Rejection>> {
    let answer = device.ask(other, message, OFFER_TIMEOUT).await?;
    match Control::parse(&answer) {
        Ok(Control::Accept { .. }) => Ok(()),
        Ok(Control::Refuse {
            reason: Reason::Busy,
            ..
        }) => Err(None),
        Ok(Control::Refuse { reason, .. }) => Err(Some(Rejection::Refused(reason.to_string()))),
        Ok(_) => Err(Some(Rejection::Refused(
            "an answer that is none".to_owned(),
        ))),
        Err(error) => Err(Some(Rejection::Refused(error.to_string()))),
    }
}

/// Rounds of probes until everybody heard everybody.
async fn until_connected(
    device: &Arc<Device>,
    placement: &Placement,
    slot: &PlanSlot,
) -> Result<(), SetUpError> {
    let until = Instant::now() + PROBE_TIMEOUT;
    loop {
        let heard = probe_round(device, placement, slot).await;
        let unheard = blame(&heard, |member| slot.plan.senders(member), placement.me);
        if unheard.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            let why = || Rejection::Unreachable("codes do not pass between all members".to_owned());
            let devices = others(placement).filter(|(number, _)| unheard.contains(number));
            return Err(SetUpError::Without(
                devices.map(|(_, device)| (device, why())).collect(),
            ));
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}

/// Whom each member heard, as bit masks by member.
async fn probe_round(device: &Arc<Device>, placement: &Placement, slot: &PlanSlot) -> Vec<u16> {
    let (plan, epoch) = (slot.plan.id, slot.plan.epoch);
    let mut asked = JoinSet::new();
    for (number, other) in others(placement) {
        let device = Arc::clone(device);
        asked.spawn(async move {
            let message = Control::Probe { plan, epoch };
            let answer = device.ask(other, &message, PROBE_TIMEOUT).await;
            let heard = match answer.as_deref().map(Control::parse) {
                Ok(Ok(Control::ProbeReply { received, .. })) => received,
                _ => 0,
            };
            (number, heard)
        });
    }
    let mut heard = vec![0; placement.members.len()];
    let own = slot.probe().await.unwrap_or_default();
    let mut set = |number: usize, mask: u16| {
        if let Some(place) = heard.get_mut(number) {
            *place = mask;
        }
    };
    set(placement.me, own);
    while let Some(answer) = asked.join_next().await {
        if let Ok((number, mask)) = answer {
            set(number, mask);
        }
    }
    heard
}

/// The fewest members, roughly, without whom everybody left hears everybody it has to, `senders` of each: the one with the
/// most silent links goes first. The coordinator, `me`, stays.
fn blame(heard: &[u16], senders: impl Fn(usize) -> u16, me: usize) -> Vec<usize> {
    let mut blamed: Vec<usize> = Vec::new();
    loop {
        let hears = |a: usize, b: usize| {
            let heard = heard.get(a).copied().unwrap_or_default();
            (heard | !senders(a)) & (1 << b) != 0
        };
        let left: Vec<usize> = (0..heard.len()).filter(|m| !blamed.contains(m)).collect();
        let silent = |member: usize| {
            left.iter()
                .filter(|&&other| other != member)
                .map(|&other| {
                    usize::from(!hears(member, other)) + usize::from(!hears(other, member))
                })
                .sum::<usize>()
        };
        let worst = left
            .iter()
            .copied()
            .filter(|&member| member != me)
            .max_by_key(|&member| silent(member));
        match worst {
            Some(member) if silent(member) > 0 => blamed.push(member),
            _ => return blamed,
        }
    }
}

#[cfg(test)]
mod tests {
    fn blame(heard: &[u16], me: usize) -> Vec<usize> {
        super::blame(heard, |member| !(1 << member), me)
    }

    #[test]
    fn in_a_causal_plan_members_hear_those_left_of_them() {
        let left = |member: usize| (1 << member) - 1;
        assert!(super::blame(&[0b000, 0b001, 0b011], left, 1).is_empty());
        assert_eq!(super::blame(&[0b000, 0b001, 0b001], left, 0).len(), 1);
        assert_eq!(super::blame(&[0b000, 0b000, 0b011], left, 1), [0]);
    }

    #[test]
    fn nobody_is_blamed_when_all_hear() {
        assert!(blame(&[0b110, 0b101, 0b011], 0).is_empty());
        // Hearing oneself does not matter.
        assert!(blame(&[0b111, 0b111, 0b111], 2).is_empty());
        assert!(blame(&[0], 0).is_empty());
    }

    #[test]
    fn the_silent_one_is_blamed() {
        // Nobody hears member 2.
        assert_eq!(blame(&[0b010, 0b001, 0b011], 0), [2]);
        // Member 1 hears nobody.
        assert_eq!(blame(&[0b110, 0b000, 0b011], 0), [1]);
        // The coordinator never leaves its own plan: the others go.
        let mut blamed = blame(&[0b000, 0b100, 0b010], 0);
        blamed.sort_unstable();
        assert_eq!(blamed, [1, 2]);
    }

    #[test]
    fn one_broken_pair_costs_one_member() {
        // 1 does not hear 2; all else is well.
        assert_eq!(blame(&[0b1110, 0b1001, 0b1011, 0b0111], 0).len(), 1);
        // Between the coordinator and another, the other goes.
        assert_eq!(blame(&[0b1010, 0b1101, 0b1011, 0b0111], 0), [2]);
    }
}
