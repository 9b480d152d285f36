//! A listening socket with a limit of connections: others wait in the system's queue.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::addresses::{AddressPlace, PerAddress};
use crate::cluster::request::admission::MAX_REQUESTS;

/// Connections at a time. Clients keep idle ones open.
const MAX_CONNECTIONS: usize = 128;
/// Of these, those of one address other than this machine's: half of the requests that can be in progress.
const MAX_OF_ADDRESS: usize = MAX_REQUESTS / 2;

pub(super) struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
    addresses: PerAddress,
}

/// A connection's place, free again once dropped.
pub(super) type Place = (Option<OwnedSemaphorePermit>, AddressPlace);

impl Limited {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            addresses: PerAddress::new(MAX_OF_ADDRESS),
        }
    }

    /// The next connection, once there is a place for it. One of an address without a place is closed.
    pub(super) async fn accept(&mut self) -> (TcpStream, SocketAddr, Place) {
        // Fails only where the semaphore is closed, which it never is.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        loop {
            // Axum's waits 1 s where the system has no more sockets, instead of failing.
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            let Some(of_address) = self.addresses.take(peer.ip()) else {
                tracing::debug!(%peer, "a connection more than its address may have was closed");
                continue;
            };
            // Events of a stream are small, and must not be delayed.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            return (stream, peer, (place, of_address));
        }
    }
}
