//! Limits how many requests of clients a device takes at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests in progress or waiting for their turn, from HTTP and from devices of the cluster together.
pub const MAX_REQUESTS: usize = 16;

/// The places of all requests that a device takes. Clones share them.
#[derive(Clone, Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
}

/// There is no room for another request.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Overloaded {
    /// All places are taken.
    #[error("requests: found {MAX_REQUESTS} in progress, expected fewer; try again later")]
    Places,
    /// All memory for what clients send is taken.
    #[error("body: found no memory left for it beside those in work; try again later")]
    Memory,
}

impl Admission {
    /// Takes a place, which is free again once the permit is dropped.
    ///
    /// # Errors
    /// All are taken.
    pub fn admit(&self) -> Result<OwnedSemaphorePermit, Overloaded> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| Overloaded::Places)
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
        }
    }
}
