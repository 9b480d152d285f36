//! Who asked a question: whether it still waits for the answer, and the place that the question has among those worked on.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Who asked. The place is free again once nothing works on the question any more, which is when the last copy is dropped; by
/// default there is none, and the asker is taken to wait for ever.
#[derive(Clone, Debug, Default)]
pub struct ClientHandle {
    waits: Option<mpsc::Sender<Infallible>>,
    _place: Option<Arc<OwnedSemaphorePermit>>,
}

/// Dropped when the asker no longer waits.
#[derive(Debug)]
pub struct ClientConnection {
    _until: mpsc::Receiver<Infallible>,
}

impl ClientHandle {
    /// Of a question that takes up `place`.
    pub fn at(place: OwnedSemaphorePermit) -> Self {
        Self {
            waits: None,
            _place: Some(Arc::new(place)),
        }
    }

    /// The same asker, which waits for as long as what comes back beside it is kept.
    pub fn with_connection(self) -> (Self, ClientConnection) {
        let (waits, until) = mpsc::channel(1);
        let asker = Self {
            waits: Some(waits),
            ..self
        };
        (asker, ClientConnection { _until: until })
    }

    /// Returns once it no longer waits; never, where that is not known.
    pub(crate) async fn gone(&self) {
        match &self.waits {
            Some(waits) => waits.closed().await,
            None => std::future::pending().await,
        }
    }
}
