//! What everything that happens on a device shares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use astra_bundle::{Bundle, ImageInput, Shape};
use astra_wire::{Control, DeviceId, EmitError};
use tokio::sync::Mutex as AsyncMutex;

use super::hello::{Standard, Why};
use super::roster::{Candidate, Roster, speed_of};
use super::seat::Seats;
use crate::link::Link;
use crate::worker::Worker;

/// This device.
pub struct Device {
    pub(super) id: DeviceId,
    pub(super) name: String,
    pub(super) standard: Standard,
    /// Requests a second it computes alone.
    pub(super) speed: f64,
    pub(super) link: Link,
    pub(super) worker: Worker,
    pub(super) input: ImageInput,
    pub(super) seats: Seats,
    /// Held while the device works on a request, as member or coordinator.
    pub(super) engaged: Arc<AsyncMutex<()>>,
    roster: Mutex<Roster>,
}

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
    /// How a photograph becomes the input of its model.
    pub input: ImageInput,
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
            worker: parts.worker,
            input: parts.input,
            seats: Seats::default(),
            engaged: Arc::default(),
            roster: Mutex::new(Roster::new(standard)),
            standard,
        }
    }

    /// The device.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// Its network.
    pub fn link(&self) -> &Link {
        &self.link
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

/// A control message as bytes.
pub fn encode(message: &Control<'_>) -> Result<Vec<u8>, EmitError> {
    message.check()?;
    let mut bytes = vec![0; message.encoded_len()];
    message.emit(&mut bytes)?;
    Ok(bytes)
}
