//! This device as a member of its cluster: joins, leaves, and joins again on a new link.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use astra_wire::{Control, EmitError, Hello};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::current_coordinator::CurrentCoordinator;
use super::error::NodeError;
use crate::cluster::device::Parts;
use crate::cluster::membership::discovery;
use crate::cluster::membership::hello::reply;
use crate::cluster::membership::identity::{SOFTWARE, shorten};
use crate::cluster::request::coordinator::Coordinator;
use crate::link::encode;
use crate::link::presence::Watch;
use crate::link::{Link, LocalAddresses, NetworkSettings, Service, Token};
use crate::server::{self, Ping, Services};

/// This device as a member of its cluster, or on its way back to it.
pub(super) struct ClusterMembership {
    pub(super) settings: NetworkSettings,
    pub(super) coordinator: Arc<CurrentCoordinator>,
    services: Services,
    state: Mutex<State>,
}

struct State {
    /// The hello of this device on its last link.
    hello: Arc<Hello>,
    connection: Result<Joined, Disconnected>,
}

struct Joined {
    addresses: LocalAddresses,
    presence: Presence,
}

/// Announces the device and serves its messages, for as long as it is kept.
struct Presence {
    token: Token,
    _watch: Watch,
    _services: [Service; 2],
    /// Asks whether messages are handled.
    pings: mpsc::Sender<Ping>,
    discovery: JoinHandle<()>,
}

struct Disconnected {
    /// What is missing, for people.
    missing: String,
    /// The end of the last link, whose ports are taken until then.
    closing: Option<JoinHandle<()>>,
}

impl ClusterMembership {
    /// Announces the device on the link of its coordinator.
    pub(super) async fn start(
        settings: NetworkSettings,
        addresses: LocalAddresses,
        coordinator: Arc<CurrentCoordinator>,
        services: Services,
        hello: Hello,
    ) -> Result<Self, NodeError> {
        let presence = announce(&coordinator.get(), &services, &hello).await?;
        tracing::info!("{}", addresses.selected);
        Ok(Self {
            settings,
            coordinator,
            services,
            state: Mutex::new(State {
                hello: Arc::new(hello),
                connection: Ok(Joined {
                    addresses,
                    presence,
                }),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hello(&self) -> Arc<Hello> {
        Arc::clone(&self.state().hello)
    }

    /// What is missing to be in the cluster; `None` while the device is.
    pub(super) fn missing(&self) -> Option<String> {
        let state = self.state();
        let disconnected = state.connection.as_ref().err();
        disconnected.map(|disconnected| disconnected.missing.clone())
    }

    /// The addresses in use; `None` out of the cluster.
    pub(super) fn addresses(&self) -> Option<LocalAddresses> {
        let state = self.state();
        let joined = state.connection.as_ref().ok();
        joined.map(|joined| joined.addresses.clone())
    }

    /// Whether messages are handled; true out of the cluster, where none come. Without the network, which others can fill.
    pub(super) async fn handles_messages(&self) -> bool {
        let pings = match &self.state().connection {
            Ok(joined) => joined.presence.pings.clone(),
            Err(_) => return true,
        };
        let (ping, answer) = oneshot::channel();
        let answered = pings.send(ping).await.is_ok() && answer.await.is_ok();
        // It has ended with its link, if that was closed meanwhile.
        answered || !self.is_joined_with(&pings)
    }

    /// Whether the device is in the cluster, on the link whose messages these pings ask about.
    fn is_joined_with(&self, pings: &mpsc::Sender<Ping>) -> bool {
        let state = self.state();
        let joined = state.connection.as_ref();
        joined.is_ok_and(|joined| joined.presence.pings.same_channel(pings))
    }

    /// Leaves the cluster without telling the others, who cannot be reached. Requests in progress stop waiting for them.
    pub(super) fn leave(&self, missing: String) {
        let mut state = self.state();
        let disconnected = Err(Disconnected::new(&missing));
        let closing = match std::mem::replace(&mut state.connection, disconnected) {
            Err(before) => before.closing,
            Ok(Joined { presence, .. }) => {
                presence.discovery.abort();
                let coordinator = self.coordinator.get();
                coordinator.device().leave_all();
                Some(tokio::spawn(async move {
                    coordinator.device().link().close().await;
                    drop(presence);
                }))
            }
        };
        state.connection = Err(Disconnected { missing, closing });
    }

    /// Joins again from these addresses, under a new id.
    ///
    /// # Errors
    /// The link does not open.
    pub(super) async fn join(&self, addresses: LocalAddresses) -> Result<(), NodeError> {
        let closing = match &mut self.state().connection {
            Err(disconnected) => disconnected.closing.take(),
            Ok(_) => return Ok(()),
        };
        // Connections to devices that are out of reach take seconds to close; with a free port there is no need to wait.
        let fixed_port = addresses.listen.iter().any(|address| address.port() != 0);
        if let Some(closing) = closing.filter(|_| fixed_port) {
            let _ = closing.await;
        }
        let link = Link::open(self.settings.link_settings(&addresses)).await?;
        let before = self.coordinator.get();
        let device = before.device().rejoined(link.id(), link.clone());
        let coordinator = Arc::new(before.moved_to(Arc::new(device)));
        let hello = Hello {
            device: coordinator.device().id(),
            addresses: bounded(&link.addresses().await),
            ..Hello::clone(&self.hello())
        };
        let presence = match announce(&coordinator, &self.services, &hello).await {
            Ok(presence) => presence,
            Err(error) => {
                link.close().await;
                return Err(error);
            }
        };
        self.coordinator.set(coordinator);
        let mut state = self.state();
        state.hello = Arc::new(hello);
        state.connection = Ok(Joined {
            addresses,
            presence,
        });
        Ok(())
    }

    /// Refuses new requests, and waits until those in work have ended, or for `longest`.
    pub(super) async fn drain(&self, longest: Duration) {
        if tokio::time::timeout(longest, self.services.drain())
            .await
            .is_err()
        {
            tracing::warn!("requests in work after {longest:?} are given up");
        }
    }

    /// Leaves the cluster for good, after a leave message to the others.
    pub(super) async fn end(&self) {
        let disconnected = Err(Disconnected::new("the end"));
        let connection = std::mem::replace(&mut self.state().connection, disconnected);
        let Ok(Joined { presence, .. }) = connection else {
            return;
        };
        let coordinator = self.coordinator.get();
        let device = coordinator.device();
        let Presence {
            token, _services, ..
        } = presence;
        // Devices that receive the message ask this one, which no longer replies.
        drop(_services);
        let leave = Control::Leave {
            device: device.id(),
        };
        let versions = device.roster().versions_for_all();
        for version in versions {
            if let Ok(leave) = encode(version, &leave) {
                device.link().broadcast(leave).await;
            }
        }
        token.remove().await;
        device.link().close().await;
    }
}

impl Disconnected {
    fn new(missing: &str) -> Self {
        Self {
            missing: missing.to_owned(),
            closing: None,
        }
    }
}

/// Serves messages before it announces the device: others may send requests as soon as they see it.
async fn announce(
    coordinator: &Arc<Coordinator>,
    services: &Services,
    hello: &Hello,
) -> Result<Presence, NodeError> {
    let device = Arc::clone(coordinator.device());
    let link = device.link().clone();
    let own = hello.clone();
    Control::Hello(own.clone())
        .check()
        .map_err(EmitError::from)?;
    let hello_service = link.serve_hello(device.id(), move |theirs| reply(&own, theirs));
    let hello_service = hello_service.await?;
    let (control_service, messages) = link.serve_control(device.id(), services.intake()).await?;
    let (pings, asked) = mpsc::channel(1);
    tokio::spawn(server::serve(
        Arc::clone(coordinator),
        services.clone(),
        messages,
        asked,
    ));
    let (events, seen) = mpsc::unbounded_channel();
    let own = Arc::clone(&device);
    let discovery = tokio::spawn(discovery::follow(
        Arc::clone(device.membership()),
        seen,
        move |other| own.member_left(other),
    ));
    let watch = link.watch(events).await?;
    let token = link.announce(device.id()).await?;
    Ok(Presence {
        token,
        _watch: watch,
        _services: [hello_service, control_service],
        pings,
        discovery,
    })
}

/// The hello of this device.
pub(super) fn hello(parts: &Parts, runtime: &str, addresses: &[String]) -> Hello {
    let bundle = parts.worker.bundle();
    Hello {
        min_version: parts.versions.min,
        max_version: parts.versions.max,
        device: parts.id,
        name: shorten(&parts.name),
        software: shorten(SOFTWARE),
        runtime: shorten(runtime),
        key: parts.key,
        bundle: bundle.hash(),
        model: shorten(&bundle.manifest().model),
        speed: parts.speed,
        addresses: bounded(addresses),
    }
}

/// As many addresses as fit in a hello.
fn bounded<const N: usize, const M: usize>(
    addresses: &[String],
) -> heapless::Vec<heapless::String<M>, N> {
    let addresses = addresses.iter().take(N);
    addresses.map(|address| shorten(address)).collect()
}
