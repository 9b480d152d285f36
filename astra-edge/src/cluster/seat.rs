//! This device's place in a plan: where its frames go, and where those of the others come in.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use astra_wire::{Control, DeviceId, Offer, Probe, Reason, Traffic};

use super::device::{Device, encode};
use crate::gather::Gather;
use crate::link::{CodePublisher, CodeSubscription, LinkError};
use crate::plan::{self, Plan, TokenRange};
use crate::worker::WorkerError;

/// Plans a device can be in: the worker keeps buffers for no more.
const SEATS: usize = 8;

/// A place in a plan.
pub struct Seat {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Which member this device is.
    pub me: usize,
    /// All members by their number.
    pub members: Vec<DeviceId>,
    /// Where frames come in: buffers that are the computing thread's, for as long as it keeps the plan.
    gather: Weak<Gather>,
    /// Members whose probe arrived, as a bit mask.
    heard: Arc<AtomicU16>,
    codes: CodePublisher,
    _subscriptions: Vec<CodeSubscription>,
}

/// The plans a device is in, least recently used first.
#[derive(Default)]
pub struct Seats {
    seats: Mutex<Vec<Arc<Seat>>>,
}

impl Seat {
    /// The own range of tokens.
    pub fn range(&self) -> Option<TokenRange> {
        self.plan.ranges.get(self.me).copied()
    }

    /// Where frames come in; nowhere, once the plan was dropped for others.
    pub fn gather(&self) -> Option<Arc<Gather>> {
        self.gather.upgrade()
    }

    /// Gives a request up: who waits in it stops.
    pub fn cancel(&self, request: u32) {
        if let Some(gather) = self.gather() {
            gather.cancel(request);
        }
    }

    /// Nothing is waited for from a member any more.
    pub fn member_left(&self, member: usize) {
        if let Some(gather) = self.gather() {
            gather.member_left(member);
        }
    }

    /// Members that frames go to.
    pub fn receivers(&self) -> usize {
        self.plan.receivers(self.me)
    }

    /// Sends a probe to the other members and says whose probes arrived so far, as a bit mask.
    ///
    /// # Errors
    /// The session is closed.
    pub async fn sound(&self) -> Result<u16, LinkError> {
        // A seat's own number and a bit mask's width are bounded by the members of an offer.
        let probe = Control::Probe(Probe {
            plan: self.plan.id,
            sender: self.me as u8,
        });
        let codes = self.codes.clone();
        if let Ok(bytes) = encode(&probe) {
            // Publishing waits for room in the queue, which is not for a thread of the runtime.
            let sent = tokio::task::spawn_blocking(move || codes.publish(&bytes)).await;
            sent.unwrap_or(Ok(()))?;
        }
        Ok(self.heard.load(Ordering::Acquire))
    }
}

impl Seats {
    /// The seat in a plan, if the device has one.
    pub fn find(&self, plan: u64) -> Option<Arc<Seat>> {
        let mut seats = self.lock();
        let place = seats.iter().position(|seat| seat.plan.id == plan)?;
        let seat = seats.remove(place);
        seats.push(Arc::clone(&seat));
        Some(seat)
    }

    /// Keeps a seat; returns the plan it displaced.
    fn keep(&self, seat: Arc<Seat>) -> Option<u64> {
        let mut seats = self.lock();
        seats.retain(|other| other.plan.id != seat.plan.id);
        let displaced = (seats.len() >= SEATS).then(|| seats.remove(0).plan.id);
        seats.push(seat);
        displaced
    }

    fn remove(&self, plan: u64) {
        self.lock().retain(|seat| seat.plan.id != plan);
    }

    /// Tells the plans that a device left.
    pub fn member_left(&self, device: DeviceId) {
        for seat in self.lock().iter() {
            if let Some(member) = seat.members.iter().position(|member| *member == device) {
                seat.member_left(member);
            }
        }
    }

    /// All plans that there is a seat in.
    pub(super) fn plans(&self) -> Vec<u64> {
        self.lock().iter().map(|seat| seat.plan.id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device {
    /// Takes the place an offer describes.
    ///
    /// # Errors
    /// Why not, as the coordinator is told.
    pub(super) async fn take_seat(&self, offer: &Offer) -> Result<Arc<Seat>, Reason> {
        let plan = Arc::new(self.plan_of(offer)?);
        let me = usize::from(offer.you);
        let seat = self.set_up_seat(offer, plan, me).await.map_err(|error| {
            tracing::warn!(%error, plan = offer.plan, "no place in the plan");
            Reason::Internal
        })?;
        if let Some(displaced) = self.seats.keep(Arc::clone(&seat)) {
            self.leave_seat(displaced);
        }
        Ok(seat)
    }

    /// Gives a place up.
    pub(super) fn leave_seat(&self, plan: u64) {
        self.seats.remove(plan);
        self.halos.forget(plan);
        self.worker.remove(plan);
    }

    fn plan_of(&self, offer: &Offer) -> Result<Plan, Reason> {
        if offer.bundle != self.standard.bundle {
            return Err(Reason::OtherBundle);
        }
        if offer.rung != 0 && self.bundle().rung(offer.rung.into()).is_err() {
            return Err(Reason::UnknownRung);
        }
        let ranges: Vec<TokenRange> = offer
            .members
            .iter()
            .map(|member| TokenRange {
                first: member.first_token,
                tokens: member.tokens,
            })
            .collect();
        let mine = offer.own().is_some_and(|own| own.device == self.id);
        let total = ranges.last().map_or(0, TokenRange::end);
        let fits = if self.bundle().manifest().family.is_text() {
            // A text is as long as it is.
            total <= usize::from(self.tokens())
        } else {
            total == usize::from(self.tokens())
        };
        // No range ends beyond 65,535 where the total fits.
        if !mine || !fits || plan::check(total as u16, &ranges).is_err() {
            return Err(Reason::BadRange);
        }
        Ok(Plan {
            id: offer.plan,
            epoch: offer.epoch,
            rung: offer.rung,
            causal: self.bundle().manifest().family.is_causal(),
            ranges,
        })
    }

    async fn set_up_seat(
        &self,
        offer: &Offer,
        plan: Arc<Plan>,
        me: usize,
    ) -> Result<Arc<Seat>, SeatError> {
        let codes = self.link.publish_codes(plan.id, me).await?;
        let sink = Box::new(codes.clone());
        let gather = self.worker.install(Arc::clone(&plan), me, sink).await?;
        let gather = Arc::downgrade(&gather);
        let heard = Arc::new(AtomicU16::new(0));
        let mut subscriptions = Vec::new();
        let senders = plan.senders(me);
        for sender in (0..offer.members.len()).filter(|sender| senders & (1 << sender) != 0) {
            let receive = receiver(plan.id, sender, Weak::clone(&gather), Arc::clone(&heard));
            let subscription = self.link.subscribe_codes(plan.id, sender, receive);
            subscriptions.push(subscription.await?);
        }
        Ok(Arc::new(Seat {
            me,
            members: offer.members.iter().map(|member| member.device).collect(),
            gather,
            heard,
            codes,
            _subscriptions: subscriptions,
            plan,
        }))
    }
}

/// What happens to the bytes of one sender. Runs on Zenoh's threads.
fn receiver(
    plan: u64,
    sender: usize,
    gather: Weak<Gather>,
    heard: Arc<AtomicU16>,
) -> impl Fn(&[u8]) + Send + Sync {
    move |bytes| match Traffic::parse(bytes) {
        Ok(Traffic::Probe(probe)) if probe.plan == plan && usize::from(probe.sender) == sender => {
            heard.fetch_or(1 << sender, Ordering::AcqRel);
        }
        Ok(Traffic::Probe(_)) => {}
        // The gather counts damaged frames too.
        Ok(Traffic::Codes(_)) | Err(_) => {
            if let Some(gather) = gather.upgrade() {
                gather.receive(bytes);
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum SeatError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

#[cfg(test)]
impl Seat {
    /// A place whose buffers were dropped.
    pub(super) async fn for_test(link: &crate::link::Link, plan: Plan, me: usize) -> Self {
        Self {
            me,
            members: Vec::new(),
            gather: Weak::new(),
            heard: Arc::default(),
            codes: link.publish_codes(plan.id, me).await.unwrap(),
            _subscriptions: Vec::new(),
            plan: Arc::new(plan),
        }
    }
}
