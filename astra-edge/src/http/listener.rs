//! A listening socket with a limit of connections: others wait in the system's queue.

use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at a time. Clients keep idle ones open.
const MAX_CONNECTIONS: usize = 128;

pub(super) struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection's place, free again once dropped.
pub(super) type Place = Option<OwnedSemaphorePermit>;

impl Limited {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }

    /// The next connection, once there is a place for it.
    pub(super) async fn accept(&mut self) -> (TcpStream, Place) {
        // Fails only where the semaphore is closed, which it never is.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        // Axum's waits 1 s where the system has no more sockets, instead of failing.
        let (stream, _) = Listener::accept(&mut self.listener).await;
        // Events of a stream are small, and must not be delayed.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        (stream, place)
    }
}
