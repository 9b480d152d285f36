//! The state of this device that everything in the cluster shares.
//!
//! Locks, each held for a moment and none under another: the roster, the slots of plans, the halo inbox, the running generations.
//! `engaged` alone is held across waits: for as long as the device works on a request.

pub mod generations;
pub mod halo_inbox;
pub mod slot;

use std::sync::{Arc, MutexGuard};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use astra_bundle::{Bundle, ImageInput, Manifest, Shape};
use astra_model::partition::{Costs, HeadPartition, TokenRange};
use astra_model::tasks::lossless::Lines;
use astra_wire::{Control, DeviceId, Versions};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};

use self::generations::RunningGenerations;
use self::halo_inbox::HaloInbox;
use self::slot::PlanSlots;
use crate::cluster::membership::Membership;
use crate::cluster::membership::discovery::request_hello;
use crate::cluster::membership::hello::{Rejection, Requirements};
use crate::cluster::membership::roster::{Candidate, Roster, speed_of};
use crate::cluster::placement::choose_text::TextModel;
use crate::link::Link;
use crate::worker::Worker;

/// Tokens of a text that is typical enough to compare the speeds of devices by.
const MEASURED_TOKENS: usize = 128;

/// This device.
pub struct Device {
    pub(crate) membership: Arc<Membership>,
    pub(crate) name: String,
    /// Requests a second that it computes on its own.
    pub(crate) speed: f64,
    pub(crate) worker: Arc<Worker>,
    /// How a picture becomes the input, for models of images.
    pub(crate) input: Option<ImageInput>,
    /// Generations of other devices' requests that run here.
    pub(crate) generations: RunningGenerations,
    pub(crate) slots: PlanSlots,
    /// Features received for this device's rows of maps.
    pub(crate) halos: HaloInbox,
    /// Held while the device works on a request, as member or coordinator.
    pub(crate) engaged: Arc<AsyncMutex<()>>,
    /// Strips compressed at the same time: no more than there are processors, so that the first is sent early.
    pub(crate) compressing: Semaphore,
}

/// Keeps other coordinators' requests away while it lives.
pub type Engaged = OwnedMutexGuard<()>;

/// What a device is made of.
pub struct Parts {
    /// Its id.
    pub id: DeviceId,
    /// Its name.
    pub name: String,
    /// Fingerprint of its cluster key.
    pub key: [u8; 8],
    /// Wire versions that it reads.
    pub versions: Versions,
    /// Microseconds of one whole request; 0 while not measured.
    pub speed: u32,
    /// Its session.
    pub link: Link,
    /// Its compute thread.
    pub worker: Worker,
    /// How a picture becomes the input of its model, for models of images.
    pub input: Option<ImageInput>,
}

impl Device {
    /// A device that is in no plan yet.
    pub fn new(parts: Parts) -> Self {
        let requirements = Requirements {
            key: parts.key,
            bundle: parts.worker.bundle().hash(),
            versions: parts.versions,
        };
        let membership = Membership::new(parts.id, parts.link, requirements);
        Self {
            membership: Arc::new(membership),
            name: parts.name,
            speed: speed_of(parts.speed),
            worker: Arc::new(parts.worker),
            input: parts.input,
            generations: RunningGenerations::default(),
            slots: PlanSlots::default(),
            halos: HaloInbox::default(),
            engaged: Arc::default(),
            compressing: compressing(),
        }
    }

    /// The same device on another link, under another id and in no plan. It still works on one request at a time, those of the former
    /// link included.
    pub fn rejoined(&self, id: DeviceId, link: Link) -> Self {
        Self {
            membership: Arc::new(self.membership.rejoined(id, link)),
            name: self.name.clone(),
            speed: self.speed,
            worker: Arc::clone(&self.worker),
            input: self.input,
            generations: RunningGenerations::default(),
            slots: PlanSlots::default(),
            halos: HaloInbox::default(),
            engaged: Arc::clone(&self.engaged),
            compressing: compressing(),
        }
    }

    /// Leaves every plan, and waits for no other device any more.
    pub fn leave_all(&self) {
        let others = self.roster().clear();
        for other in others {
            self.slots.member_left(other);
        }
        for plan in self.slots.plans() {
            self.leave_plan(plan);
        }
    }

    /// Gives up the slot in a plan, and what was received for it.
    pub(crate) fn leave_plan(&self, plan: u64) {
        self.slots.remove(plan);
        self.halos.forget(plan);
        self.worker.remove(plan);
    }

    /// Another device left or was lost: requests stop waiting for it, and those that it coordinates end.
    pub fn member_left(&self, other: DeviceId) {
        for plan in self.slots.member_left(other) {
            self.generations.cancel_all(plan);
            self.leave_plan(plan);
        }
        if let Some(entry) = self.roster().left(other) {
            let name = entry.hello.map(|hello| hello.name);
            tracing::info!(device = %other, name = name.as_deref().unwrap_or("?"), "device left");
        }
    }

    /// Asks another device whether it is still there, and counts it as left where it does not reply: what anyone says of it is only a
    /// hint. It is asked once at a time.
    pub fn ask_whether_there(self: &Arc<Self>, other: DeviceId) {
        if !self.roster().begin_asking(other) {
            return;
        }
        let device = Arc::clone(self);
        tokio::spawn(async move {
            let membership = device.membership();
            let hello = request_hello(&membership.link, other, membership.versions()).await;
            device.roster().end_asking(other);
            if matches!(hello, Err(Rejection::Unreachable(_))) {
                device.member_left(other);
            }
        });
    }

    /// Waits until the device works on no request, and keeps other requests away while the guard lives; `None` if that is not before
    /// `until`.
    pub async fn engage(&self, until: Instant) -> Option<Engaged> {
        let engaged = Arc::clone(&self.engaged).lock_owned();
        tokio::time::timeout_at(until.into(), engaged).await.ok()
    }

    /// Its id on the link that it uses now.
    pub fn id(&self) -> DeviceId {
        self.membership.id
    }

    /// Its network.
    pub fn link(&self) -> &Link {
        &self.membership.link
    }

    /// Its membership of the cluster.
    pub fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// How many other devices can be members now.
    pub fn others(&self) -> usize {
        self.roster().usable().len()
    }

    /// The roster, locked: nothing may wait while it is.
    pub(crate) fn roster(&self) -> MutexGuard<'_, Roster> {
        self.membership.roster()
    }

    /// The bundle in use.
    pub fn bundle(&self) -> &Arc<Bundle> {
        self.worker.bundle()
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.bundle().manifest().shape
    }

    /// Tokens of a whole input.
    pub(crate) fn tokens(&self) -> u16 {
        // A manifest with more is refused.
        u16::try_from(self.shape().tokens).unwrap_or(u16::MAX)
    }

    /// Rows of the map by member, and the layout of its scores, where the head is distributed.
    pub(crate) fn rows(&self, ranges: &[TokenRange]) -> Option<(HeadPartition, Lines)> {
        let image = self.bundle().manifest().image?;
        let head = image.head_rows?;
        let side = image.size.checked_div(image.patch)?;
        let lines = Lines {
            columns: side * head.scale,
            patch: head.scale,
        };
        Some((HeadPartition::new(ranges, side, head.halo), lines))
    }

    /// What is known of the model to divide texts by, at a rung.
    pub(crate) fn text_model(&self, rung: u16) -> TextModel {
        let manifest = self.bundle().manifest();
        let shape = &manifest.shape;
        let rank = match self.bundle().rung(rung.into()) {
            Ok(rung) => rung.mean_rank(),
            // In exact mode tokens travel as they are.
            Err(_) => shape.hidden,
        };
        let causal = manifest.family.is_causal();
        let costs = Costs::of(shape, rank, causal);
        let tokens = measured_tokens(manifest).saturating_sub(shape.class_tokens);
        TextModel {
            costs,
            causal,
            blocks: shape.blocks,
            measured: costs.work(0, tokens, tokens),
        }
    }

    /// This device as a candidate for its own requests.
    pub(crate) fn candidate(&self) -> Candidate {
        Candidate {
            device: self.id(),
            name: self.name.clone(),
            speed: self.speed,
            since: 0,
        }
    }

    /// Sends a control message in a version of the wire and returns the reply's bytes.
    ///
    /// # Errors
    /// [`Rejection::Unreachable`]: no reply within the time, or the message contradicts itself.
    pub(crate) async fn request(
        &self,
        device: DeviceId,
        version: u8,
        message: &Control<'_>,
        within: Duration,
    ) -> Result<Vec<u8>, Rejection> {
        self.membership
            .request(device, version, message, within)
            .await
    }
}

fn compressing() -> Semaphore {
    Semaphore::new(available_parallelism().map_or(1, usize::from))
}

/// Tokens of the text by which devices measure their speed.
pub fn measured_tokens(manifest: &Manifest) -> usize {
    let longest = manifest.text.as_ref().map_or(0, |text| text.max_tokens);
    MEASURED_TOKENS.min(longest)
}
