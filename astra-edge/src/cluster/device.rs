//! What everything that happens on a device shares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use astra_bundle::{Bundle, ImageInput, Manifest, Shape};
use astra_wire::{Control, DeviceId, EmitError};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};

use super::choose_text::TextModel;
use super::generations::Generations;
use super::halo::Halos;
use super::hello::{Standard, Why};
use super::roster::{Candidate, Roster, speed_of};
use super::seat::Seats;
use crate::link::Link;
use crate::plan::{Costs, Rows, TokenRange};
use crate::tasks::lossless::Lines;
use crate::worker::Worker;

/// Length of a text that is typical enough to compare devices by.
const MEASURED_TOKENS: usize = 128;

/// Ids of its own that a device remembers: others forget those that are older by themselves.
const FORMER: usize = 8;

/// This device.
pub struct Device {
    pub(super) id: DeviceId,
    pub(super) name: String,
    pub(super) standard: Standard,
    /// Requests a second it computes alone.
    pub(super) speed: f64,
    pub(super) link: Link,
    /// What it was called on links that it has left.
    pub(super) former: Vec<DeviceId>,
    pub(crate) worker: Arc<Worker>,
    /// How a photograph becomes the input, for models that see.
    pub(super) input: Option<ImageInput>,
    /// Generations of other devices' requests that run here.
    pub(super) generations: Generations,
    pub(super) seats: Seats,
    /// Features that came for this device's rows of maps.
    pub(super) halos: Halos,
    /// Held while the device works on a request, as member or coordinator.
    pub(super) engaged: Arc<AsyncMutex<()>>,
    /// Strips that may be compressed at a time: no more than there are processors, so that the first is soon on its way.
    pub(super) compressing: Semaphore,
    roster: Mutex<Roster>,
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
    /// Microseconds of one whole request.
    pub speed: u32,
    /// Its session.
    pub link: Link,
    /// Its computing thread.
    pub worker: Worker,
    /// How a photograph becomes the input of its model, if it sees.
    pub input: Option<ImageInput>,
}

impl Device {
    /// Puts a device together.
    pub fn new(parts: Parts) -> Self {
        let standard = Standard {
            key: parts.key,
            bundle: parts.worker.bundle().hash(),
        };
        Self {
            id: parts.id,
            name: parts.name,
            speed: speed_of(parts.speed),
            link: parts.link,
            former: Vec::new(),
            worker: Arc::new(parts.worker),
            input: parts.input,
            generations: Generations::default(),
            seats: Seats::default(),
            halos: Halos::default(),
            engaged: Arc::default(),
            compressing: compressing(),
            roster: Mutex::new(Roster::new(standard)),
            standard,
        }
    }

    /// The same device on another link, under another id: nothing that others hold of the former one, and no plan it was in, is good
    /// for this one. It works on one request at a time all the same.
    pub fn rejoined(&self, id: DeviceId, link: Link) -> Self {
        let former = self.former.iter().rev().take(FORMER - 1).rev().copied();
        Self {
            id,
            name: self.name.clone(),
            standard: self.standard,
            speed: self.speed,
            link,
            former: former.chain([self.id]).collect(),
            worker: Arc::clone(&self.worker),
            input: self.input,
            generations: Generations::default(),
            seats: Seats::default(),
            halos: Halos::default(),
            engaged: Arc::clone(&self.engaged),
            compressing: compressing(),
            roster: Mutex::new(Roster::new(self.standard)),
        }
    }

    /// The link is left: nobody is waited for any more, and all plans are dropped.
    pub fn leave_all(&self) {
        let others = self.roster().clear();
        for other in others {
            self.seats.member_left(other);
        }
        for plan in self.seats.plans() {
            self.leave_seat(plan);
        }
    }

    /// Waits until the device works on no request, and keeps others away for as long as what comes back is kept; `None` if that is not
    /// before `until`.
    pub async fn engage(&self, until: Instant) -> Option<Engaged> {
        let engaged = Arc::clone(&self.engaged).lock_owned();
        tokio::time::timeout_at(until.into(), engaged).await.ok()
    }

    /// The device.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// Its network.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Other devices that can be members now.
    pub fn others(&self) -> usize {
        self.roster().usable().len()
    }

    /// The roster, held for a moment.
    pub(super) fn roster(&self) -> MutexGuard<'_, Roster> {
        // Nothing under this lock can panic half-way; whatever a thread left is whole.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bundle in use.
    pub fn bundle(&self) -> &Arc<Bundle> {
        self.worker.bundle()
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.bundle().manifest().shape
    }

    /// Tokens of a whole input.
    pub(super) fn tokens(&self) -> u16 {
        // A manifest with more is refused.
        u16::try_from(self.shape().tokens).unwrap_or(u16::MAX)
    }

    /// Rows of the map by member, and how its scores lie, where the head is one that members share.
    pub(super) fn rows(&self, ranges: &[TokenRange]) -> Option<(Rows, Lines)> {
        let image = self.bundle().manifest().image?;
        let head = image.head_rows?;
        let side = image.size.checked_div(image.patch)?;
        let lines = Lines {
            columns: side * head.scale,
            patch: head.scale,
        };
        Some((Rows::new(ranges, side, head.halo), lines))
    }

    /// What is known of the model to divide texts by, at a rung.
    pub(super) fn text_model(&self, rung: u16) -> TextModel {
        let manifest = self.bundle().manifest();
        let shape = &manifest.shape;
        let rank = match self.bundle().rung(rung.into()) {
            Ok(rung) => rung.rank,
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
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            device: self.id,
            name: self.name.clone(),
            speed: self.speed,
            since: 0,
        }
    }

    /// Sends a control message and returns the answer's bytes.
    pub(super) async fn ask(
        &self,
        device: DeviceId,
        message: &Control<'_>,
        within: Duration,
    ) -> Result<Vec<u8>, Why> {
        let bytes = encode(message).map_err(|error| Why::Unreachable(error.to_string()))?;
        self.link
            .ask_control(device, "", bytes, within)
            .await
            .map_err(|error| Why::Unreachable(error.to_string()))
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

/// A control message as bytes.
///
/// # Errors
/// The message contradicts itself.
pub fn encode(message: &Control<'_>) -> Result<Vec<u8>, EmitError> {
    message.check()?;
    let mut bytes = vec![0; message.encoded_len()];
    message.emit(&mut bytes)?;
    Ok(bytes)
}
