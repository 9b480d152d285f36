//! Which devices there are, and whether each can be used.
//!
//! [`identity`], [`hello`] and [`roster`] know no network; [`discovery`] keeps the roster current.

pub mod discovery;
pub mod hello;
pub mod identity;
pub mod roster;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use astra_wire::{Control, DeviceId, Versions};

use self::hello::{Rejection, Requirements};
use self::roster::Roster;
use crate::link::{Link, encode};

/// Ids of its own that a device remembers: others forget older ones by themselves.
const FORMER: usize = 8;

/// This device's membership of a cluster: its id and link, and the devices that it sees there.
pub struct Membership {
    pub(crate) id: DeviceId,
    pub(crate) link: Link,
    /// Ids on links that this device has left, oldest first.
    former: Vec<DeviceId>,
    requirements: Requirements,
    roster: Mutex<Roster>,
}

impl Membership {
    /// A membership on a new link, with no other device seen yet.
    pub fn new(id: DeviceId, link: Link, requirements: Requirements) -> Self {
        Self {
            id,
            link,
            former: Vec::new(),
            requirements,
            roster: Mutex::new(Roster::new(requirements)),
        }
    }

    /// A membership on another link, under another id: nothing that other devices hold of the former one is valid for this one.
    pub fn rejoined(&self, id: DeviceId, link: Link) -> Self {
        let former = self.former.iter().rev().take(FORMER - 1).rev().copied();
        Self {
            former: former.chain([self.id]).collect(),
            ..Self::new(id, link, self.requirements)
        }
    }

    /// What another device must agree with to be used.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// The roster, locked: nothing may wait while it is.
    pub(crate) fn roster(&self) -> MutexGuard<'_, Roster> {
        // Nothing under this lock can panic half-way; whatever a thread left is whole.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wire versions that this device reads.
    pub fn versions(&self) -> Versions {
        self.requirements.versions
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
        let unreachable = |error: &dyn std::fmt::Display| Rejection::Unreachable(error.to_string());
        let bytes = encode(version, message).map_err(|error| unreachable(&error))?;
        let reply = self.link.request(device, "", bytes, within).await;
        reply.map_err(|error| unreachable(&error))
    }
}
