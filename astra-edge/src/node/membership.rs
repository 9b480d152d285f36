//! One stay in the cluster after another: each on a link of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use astra_wire::{Control, Hello, MIN_VERSION, VERSION};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::NodeError;
use super::current::Current;
use crate::cluster::device::Parts;
use crate::cluster::membership::discovery;
use crate::cluster::membership::identity::{SOFTWARE, new_device_id, shorten};
use crate::cluster::request::coordinator::Coordinator;
use crate::link::encode;
use crate::link::presence::Watch;
use crate::link::{Joining, Link, Place, Service, Token};
use crate::server::{self, Services};

/// The device as a member of its cluster.
pub(super) struct Member {
    pub(super) joining: Joining,
    pub(super) current: Arc<Current>,
    services: Services,
    stay: Mutex<Stay>,
}

/// What is the case now.
struct Stay {
    /// What the device says, or said last, of itself.
    hello: Arc<Hello>,
    at: Result<(Place, Presence), Away>,
}

/// What shows the device to others and answers them, for as long as it is kept.
struct Presence {
    token: Token,
    _watch: Watch,
    _services: [Service; 2],
    discovery: JoinHandle<()>,
}

/// Out of the cluster.
struct Away {
    waits_for: String,
    /// The end of the stay before: its ports are taken until then.
    closing: Option<JoinHandle<()>>,
}

impl Member {
    /// Begins the first stay.
    pub(super) async fn begin(
        joining: Joining,
        place: Place,
        current: Arc<Current>,
        services: Services,
        hello: Hello,
    ) -> Result<Self, NodeError> {
        let presence = show(&current.get(), &services, &hello).await?;
        tracing::info!("{}", place.chosen);
        Ok(Self {
            joining,
            current,
            services,
            stay: Mutex::new(Stay {
                hello: Arc::new(hello),
                at: Ok((place, presence)),
            }),
        })
    }

    fn stay(&self) -> MutexGuard<'_, Stay> {
        // Nothing under this lock can panic half-way.
        self.stay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hello(&self) -> Arc<Hello> {
        Arc::clone(&self.stay().hello)
    }

    pub(super) fn waits_for(&self) -> Option<String> {
        let stay = self.stay();
        stay.at.as_ref().err().map(|away| away.waits_for.clone())
    }

    /// Where the device is.
    pub(super) fn place(&self) -> Option<Place> {
        let stay = self.stay();
        stay.at.as_ref().ok().map(|(place, _)| place.clone())
    }

    /// Whether the device is in the cluster as what it was.
    pub(super) fn is_at(&self, coordinator: &Arc<Coordinator>) -> bool {
        self.place().is_some() && Arc::ptr_eq(coordinator, &self.current.get())
    }

    /// Leaves the cluster from an address that others cannot be told from any more. Requests at work stop waiting for others.
    pub(super) fn leave(&self, waits_for: String) {
        let mut stay = self.stay();
        let closing = match std::mem::replace(&mut stay.at, Err(Away::waiting(&waits_for))) {
            Err(before) => before.closing,
            Ok((_, presence)) => {
                presence.discovery.abort();
                let coordinator = self.current.get();
                coordinator.device().leave_all();
                Some(tokio::spawn(async move {
                    coordinator.device().link().close().await;
                    drop(presence);
                }))
            }
        };
        stay.at = Err(Away { waits_for, closing });
    }

    /// Joins again at a place, as a device that nobody has seen yet.
    ///
    /// # Errors
    /// The network refuses.
    pub(super) async fn join(&self, place: Place) -> Result<(), NodeError> {
        let closing = match &mut self.stay().at {
            Err(away) => away.closing.take(),
            Ok(_) => return Ok(()),
        };
        // Connections to devices that cannot be reached any more take seconds to close; a free port is free meanwhile.
        let named_port = place.listen.iter().any(|address| address.port() != 0);
        if let Some(closing) = closing.filter(|_| named_port) {
            let _ = closing.await;
        }
        let link = Link::open(self.joining.at(&place)).await?;
        let before = self.current.get();
        let device = before.device().rejoined(new_device_id(), link.clone());
        let coordinator = Arc::new(before.moved_to(Arc::new(device)));
        let hello = Hello {
            device: coordinator.device().id(),
            addresses: shown(&link.addresses().await),
            ..Hello::clone(&self.hello())
        };
        let presence = match show(&coordinator, &self.services, &hello).await {
            Ok(presence) => presence,
            Err(error) => {
                link.close().await;
                return Err(error);
            }
        };
        self.current.set(coordinator);
        let mut stay = self.stay();
        stay.hello = Arc::new(hello);
        stay.at = Ok((place, presence));
        Ok(())
    }

    /// Leaves the cluster: others stop counting on this device before it is gone.
    pub(super) async fn end(&self) {
        let away = Err(Away::waiting("the end"));
        let at = std::mem::replace(&mut self.stay().at, away);
        let Ok((_, presence)) = at else {
            return;
        };
        let coordinator = self.current.get();
        let device = coordinator.device();
        let leave = Control::Leave {
            device: device.id(),
        };
        if let Ok(leave) = encode(&leave) {
            device.link().tell_all(leave).await;
        }
        presence.token.remove().await;
        device.link().close().await;
    }
}

impl Away {
    fn waiting(waits_for: &str) -> Self {
        Self {
            waits_for: waits_for.to_owned(),
            closing: None,
        }
    }
}

/// Serves before it announces itself: devices that see it may send requests at once.
async fn show(
    coordinator: &Arc<Coordinator>,
    services: &Services,
    hello: &Hello,
) -> Result<Presence, NodeError> {
    let device = Arc::clone(coordinator.device());
    let link = device.link().clone();
    let greeting = encode(&Control::Hello(hello.clone()))?;
    let answering_hello = link.serve_hello(device.id(), greeting).await?;
    let (answering_control, messages) = link.serve_control(device.id()).await?;
    tokio::spawn(server::serve(
        Arc::clone(coordinator),
        services.clone(),
        messages,
    ));
    let (events, seen) = mpsc::unbounded_channel();
    let leaving = Arc::clone(&device);
    let discovery = tokio::spawn(discovery::follow(
        Arc::clone(device.membership()),
        seen,
        move |other| leaving.member_left(other),
    ));
    let watch = link.watch(events).await?;
    let token = link.announce(device.id()).await?;
    Ok(Presence {
        token,
        _watch: watch,
        _services: [answering_hello, answering_control],
        discovery,
    })
}

/// What a device says of itself.
pub(super) fn hello(parts: &Parts, runtime: &str, addresses: &[String]) -> Hello {
    let bundle = parts.worker.bundle();
    Hello {
        min_version: MIN_VERSION,
        max_version: VERSION,
        device: parts.id,
        name: shorten(&parts.name),
        software: shorten(SOFTWARE),
        runtime: shorten(runtime),
        key: parts.key,
        bundle: bundle.hash(),
        model: shorten(&bundle.manifest().model),
        speed: parts.speed,
        addresses: shown(addresses),
    }
}

/// As many addresses as a hello holds.
fn shown<const N: usize, const M: usize>(
    addresses: &[String],
) -> heapless::Vec<heapless::String<M>, N> {
    let addresses = addresses.iter().take(N);
    addresses.map(|address| shorten(address)).collect()
}
