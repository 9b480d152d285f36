//! The plans that this device is a member of.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use astra_model::partition::TokenRange;
use astra_wire::{Control, DeviceId, ProbeFrame, SECRET};

use crate::gather::Gather;
use crate::link::{CodePublisher, CodeSubscription, LinkError, encode};
use crate::plan::Plan;

/// Plans that a device can be in: the worker keeps buffers for no more.
const MAX_SLOTS: usize = 8;

/// This device's slot in a plan.
pub struct PlanSlot {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The number of this device among the members.
    pub me: usize,
    /// All members by their number.
    pub members: Vec<DeviceId>,
    /// The member that coordinates it.
    pub(crate) coordinator: DeviceId,
    /// See [`Offer::secret`](astra_wire::Offer::secret).
    pub(crate) secret: [u8; SECRET],
    /// Where frames arrive: buffers that the compute thread owns, for as long as it keeps the plan.
    pub(crate) gather: Weak<Gather>,
    /// Members whose probe arrived, as a bit mask.
    pub(crate) probed: Arc<AtomicU16>,
    pub(crate) codes: CodePublisher,
    pub(crate) _subscriptions: Vec<CodeSubscription>,
}

/// The slots of a device, least recently used first.
#[derive(Default)]
pub struct PlanSlots {
    slots: Mutex<Vec<Arc<PlanSlot>>>,
}

impl PlanSlot {
    /// Tokens that this device owns; `None` would be a plan without it.
    pub fn range(&self) -> Option<TokenRange> {
        self.plan.ranges.get(self.me).copied()
    }

    /// Where frames arrive; `None` once the plan was dropped to make room for another.
    pub fn gather(&self) -> Option<Arc<Gather>> {
        self.gather.upgrade()
    }

    /// Cancels a request: whatever waits for its frames stops.
    pub fn cancel(&self, request: u32) {
        if let Some(gather) = self.gather() {
            gather.cancel(request);
        }
    }

    /// Cancels all its requests, now and later.
    fn cancel_all(&self) {
        if let Some(gather) = self.gather() {
            gather.cancel_all();
        }
    }

    /// Frames of a member are not waited for any more.
    pub fn member_left(&self, member: usize) {
        if let Some(gather) = self.gather() {
            gather.member_left(member);
        }
    }

    /// Members that frames go to.
    pub fn receivers(&self) -> usize {
        self.plan.receivers(self.me)
    }

    /// Sends a probe to the other members; returns those whose probes arrived so far, as a bit mask.
    ///
    /// # Errors
    /// The session is closed.
    pub async fn probe(&self) -> Result<u16, LinkError> {
        // A slot's own number and a bit mask's width are bounded by the members of an offer.
        let probe = Control::ProbeFrame(ProbeFrame {
            plan: self.plan.id,
            sender: self.me as u8,
        });
        let codes = self.codes.clone();
        if let Ok(bytes) = encode(self.plan.version, &probe) {
            // Publishing waits for room in the queue, which is not for a thread of the runtime.
            let sent = tokio::task::spawn_blocking(move || codes.publish(&bytes)).await;
            sent.unwrap_or(Ok(()))?;
        }
        Ok(self.probed.load(Ordering::Acquire))
    }
}

impl PlanSlots {
    /// The slot in a plan, if the device has one.
    pub fn find(&self, plan: u64) -> Option<Arc<PlanSlot>> {
        let mut slots = self.lock();
        let place = slots.iter().position(|slot| slot.plan.id == plan)?;
        let slot = slots.remove(place);
        slots.push(Arc::clone(&slot));
        Some(slot)
    }

    /// Keeps a slot; returns the plan whose slot it displaced.
    pub(crate) fn keep(&self, slot: Arc<PlanSlot>) -> Option<u64> {
        let mut slots = self.lock();
        slots.retain(|other| other.plan.id != slot.plan.id);
        let displaced = (slots.len() >= MAX_SLOTS).then(|| slots.remove(0).plan.id);
        slots.push(slot);
        displaced
    }

    pub(crate) fn remove(&self, plan: u64) {
        self.lock().retain(|slot| slot.plan.id != plan);
    }

    /// No plan waits for a device any more. Those that it coordinates are cancelled; their ids are returned.
    pub fn member_left(&self, device: DeviceId) -> Vec<u64> {
        let mut ended = Vec::new();
        for slot in self.lock().iter() {
            if let Some(member) = slot.members.iter().position(|member| *member == device) {
                slot.member_left(member);
            }
            if slot.coordinator == device {
                slot.cancel_all();
                ended.push(slot.plan.id);
            }
        }
        ended
    }

    /// Ids of all plans.
    pub(crate) fn plans(&self) -> Vec<u64> {
        self.lock().iter().map(|slot| slot.plan.id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<PlanSlot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl PlanSlot {
    /// A slot whose buffers were dropped.
    pub(crate) async fn for_test(link: &crate::link::Link, plan: Plan, me: usize) -> Self {
        Self {
            me,
            members: Vec::new(),
            coordinator: DeviceId([0; 16]),
            secret: [0; SECRET],
            gather: Weak::new(),
            probed: Arc::default(),
            codes: link.publish_codes(plan.id, me).await.unwrap(),
            _subscriptions: Vec::new(),
            plan: Arc::new(plan),
        }
    }
}
