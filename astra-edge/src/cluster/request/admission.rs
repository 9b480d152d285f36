//! Limits how many requests of clients a device takes at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests in progress or waiting for their turn, from HTTP and from devices of the cluster together.
pub const MAX_REQUESTS: usize = 16;

/// The places of all requests that a device takes. Clones share them.
#[derive(Clone, Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    closed: Arc<AtomicBool>,
}

/// There is no room for another request.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Overloaded {
    /// All places are taken.
    #[error("requests: found {MAX_REQUESTS} in progress, expected fewer; try again later")]
    Places,
    /// The device is about to leave.
    #[error(
        "requests: found a device that stops, expected one that goes on; try again later, or another device"
    )]
    Stopping,
    /// All memory for what clients send is taken.
    #[error("body: found no memory left for it beside those in work; try again later")]
    Memory,
}

impl Admission {
    /// Takes a place, which is free again once the permit is dropped.
    ///
    /// # Errors
    /// All are taken, or the device stops.
    pub fn admit(&self) -> Result<OwnedSemaphorePermit, Overloaded> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Overloaded::Stopping);
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| Overloaded::Places)
    }

    /// Admits no request any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Places that are free.
    pub fn free(&self) -> usize {
        self.places.available_permits()
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_REQUESTS)),
            closed: Arc::default(),
        }
    }
}
