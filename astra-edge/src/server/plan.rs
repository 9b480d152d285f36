//! Plans that a coordinator offers, and probes on them.

use std::sync::Arc;

use astra_wire::{Control, Offer, Reason};

use crate::cluster::device::Device;

/// Replies to an offer, whose version is that of the plan.
pub(crate) async fn accept(device: &Arc<Device>, offer: &Offer, version: u8) -> Control<'static> {
    let plan = offer.plan;
    let Ok(_engaged) = device.engaged.try_lock() else {
        let reason = Reason::Busy;
        return Control::Refuse { plan, reason };
    };
    if !has_all_members(device, offer) {
        let reason = Reason::UnknownMember;
        return Control::Refuse { plan, reason };
    }
    match device.join_plan(offer, version).await {
        Ok(_) => Control::Accept {
            plan,
            member: offer.recipient,
        },
        Err(reason) => Control::Refuse { plan, reason },
    }
}

/// Whether this device sees all other members, and the coordinator is one of them. For members that are not there, all others would
/// wait until the deadline of each request.
fn has_all_members(device: &Device, offer: &Offer) -> bool {
    let own = device.id();
    let roster = device.roster();
    let mut others = offer.members.iter().map(|member| member.device);
    offer.coordinator() != Some(own) && others.all(|other| other == own || roster.is_there(other))
}

pub(crate) async fn probe(device: &Arc<Device>, plan: u64, epoch: u16) -> Control<'static> {
    let reason = match device.slots.find(plan) {
        Some(slot) if slot.plan.epoch == epoch => match slot.probe().await {
            Ok(received) => return Control::ProbeReply { plan, received },
            Err(error) => {
                tracing::debug!(%error, "a probe was not sent");
                Reason::Internal
            }
        },
        _ => Reason::UnknownPlan,
    };
    Control::Refuse { plan, reason }
}
