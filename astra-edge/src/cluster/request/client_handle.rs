//! The client of a request: whether it is still connected, and the permit that its request holds.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// The client of a request. The permit is released when the last clone is dropped, that is when nothing works on the request any more.
/// The default has no permit and never disconnects.
#[derive(Clone, Debug, Default)]
pub struct ClientHandle {
    waits: Option<mpsc::Sender<Infallible>>,
    _place: Option<Arc<OwnedSemaphorePermit>>,
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
        }
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
