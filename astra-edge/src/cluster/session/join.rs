//! This device becomes a member of a plan.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Weak};

use astra_model::partition::{self, TokenRange};
use astra_wire::{DeviceId, Offer, Reason, Traffic};

use crate::cluster::device::Device;
use crate::cluster::device::slot::PlanSlot;
use crate::gather::Gather;
use crate::link::LinkError;
use crate::plan::Plan;
use crate::worker::WorkerError;

impl Device {
    /// Joins the plan of an offer in a version of the wire, in place of the one unused for longest where there are too many.
    ///
    /// # Errors
    /// The reason that the coordinator is sent.
    pub(crate) async fn join_plan(
        &self,
        offer: &Offer,
        version: u8,
    ) -> Result<Arc<PlanSlot>, Reason> {
        let plan = Arc::new(self.plan_of(offer, version)?);
        let coordinator = offer.coordinator().ok_or(Reason::UnknownMember)?;
        let me = usize::from(offer.recipient);
        let slot = self
            .open_slot(offer, plan, (me, coordinator))
            .await
            .map_err(|error| {
                tracing::warn!(%error, plan = offer.plan, "cannot join the plan");
                Reason::Internal
            })?;
        if let Some(displaced) = self.slots.keep(Arc::clone(&slot)) {
            self.leave_plan(displaced);
        }
        Ok(slot)
    }

    fn plan_of(&self, offer: &Offer, version: u8) -> Result<Plan, Reason> {
        if offer.bundle != self.membership.requirements().bundle {
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
        let mine = offer.own().is_some_and(|own| own.device == self.id());
        let total = ranges.last().map_or(0, TokenRange::end);
        let fits = if self.bundle().manifest().family.is_text() {
            // A text is as long as it is.
            total <= usize::from(self.tokens())
        } else {
            total == usize::from(self.tokens())
        };
        // No range ends beyond 65,535 where the total fits.
        if !mine || !fits || partition::check(total as u16, &ranges).is_err() {
            return Err(Reason::BadRange);
        }
        Ok(Plan {
            id: offer.plan,
            version,
            epoch: offer.epoch,
            rung: offer.rung,
            causal: self.bundle().manifest().family.is_causal(),
            ranges,
        })
    }

    async fn open_slot(
        &self,
        offer: &Offer,
        plan: Arc<Plan>,
        (me, coordinator): (usize, DeviceId),
    ) -> Result<Arc<PlanSlot>, SlotError> {
        let codes = self.link().publish_codes(plan.id, me).await?;
        let sink = Box::new(codes.clone());
        let gather = self.worker.install(Arc::clone(&plan), me, sink).await?;
        let gather = Arc::downgrade(&gather);
        let probed = Arc::new(AtomicU16::new(0));
        let mut subscriptions = Vec::new();
        let senders = plan.senders(me);
        for sender in (0..offer.members.len()).filter(|sender| senders & (1 << sender) != 0) {
            let receive = receiver(plan.id, sender, Weak::clone(&gather), Arc::clone(&probed));
            let subscription = self.link().subscribe_codes(plan.id, sender, receive);
            subscriptions.push(subscription.await?);
        }
        Ok(Arc::new(PlanSlot {
            me,
            members: offer.members.iter().map(|member| member.device).collect(),
            coordinator,
            secret: offer.secret,
            gather,
            probed,
            codes,
            _subscriptions: subscriptions,
            plan,
        }))
    }
}

/// Takes the bytes of one sender. Runs on Zenoh's threads.
fn receiver(
    plan: u64,
    sender: usize,
    gather: Weak<Gather>,
    probed: Arc<AtomicU16>,
) -> impl Fn(&[u8]) + Send + Sync {
    move |bytes| match Traffic::parse(bytes) {
        Ok(Traffic::Probe(probe)) if probe.plan == plan && usize::from(probe.sender) == sender => {
            probed.fetch_or(1 << sender, Ordering::AcqRel);
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
enum SlotError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Worker(#[from] WorkerError),
}
