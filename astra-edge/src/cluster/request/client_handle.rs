//! The client of a request: whether it is still connected, and the permit that its request holds.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// The client of a request. The permit is released when the last clone is dropped, that is when nothing works on the request any more.
/// The default has no permit and never disconnects.
#[derive(Clone, Debug, Default)]
pub struct ClientHandle {
    waits: Option<mpsc::Sender<Infallible>>,
    _place: Option<Arc<OwnedSemaphorePermit>>,
    owner: Option<IpAddr>,
}

/// Dropped when the client disconnects.
#[derive(Debug)]
pub struct ClientConnection {
    _until: mpsc::Receiver<Infallible>,
}

impl ClientHandle {
    /// The client of a request that holds `place`, a permit among the requests in progress.
    pub fn at(place: OwnedSemaphorePermit) -> Self {
        Self {
            waits: None,
            _place: Some(Arc::new(place)),
            owner: None,
        }
    }

    /// The same client, known by its address.
    pub fn owned_by(self, address: IpAddr) -> Self {
        Self {
            owner: Some(address),
            ..self
        }
    }

    /// Who sent the request; `None` for all clients whose address is not known.
    pub(crate) fn owner(&self) -> Option<IpAddr> {
        self.owner
    }

    /// The same client, which counts as connected until the returned connection is dropped.
    pub fn with_connection(self) -> (Self, ClientConnection) {
        let (waits, until) = mpsc::channel(1);
        let client = Self {
            waits: Some(waits),
            ..self
        };
        (client, ClientConnection { _until: until })
    }

    /// Returns when the client has disconnected; never, where that cannot be known.
    pub(crate) async fn gone(&self) {
        match &self.waits {
            Some(waits) => waits.closed().await,
            None => std::future::pending().await,
        }
    }
}
