//! A listening socket that takes so many connections and no more: others wait in the system's queue.

use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once. Clients keep some open that they do not use.
const CONNECTIONS: usize = 128;

pub(super) struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection's place among those there may be, for as long as it is kept.
pub(super) type Place = Option<OwnedSemaphorePermit>;

impl Limited {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// The next connection, once there is a place for it.
    pub(super) async fn accept(&mut self) -> (TcpStream, Place) {
        // Fails only once the semaphore is closed, which nobody does.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        // Axum's waits a moment where the system has no more sockets, instead of failing.
        let (stream, _) = Listener::accept(&mut self.listener).await;
        // Pieces of a stream are small, and wait for nobody.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        (stream, place)
    }
}
