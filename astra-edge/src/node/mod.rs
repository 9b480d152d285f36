//! A device from start to end: loads the model, joins the cluster, and leaves it.
//!
//! When its address changes, it leaves the cluster and joins again from the new one, under a new id: `address_policy` decides when,
//! `address_watch` does it with `membership`, and `current_coordinator` directs HTTP requests to the link in use.

mod address_policy;
mod address_watch;
mod current_coordinator;
mod error;
mod load;
mod membership;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use astra_wire::{DeviceId, Hello, Versions};
use tokio::task::JoinHandle;

use crate::cluster::device::{Device, Parts};
use crate::cluster::membership::hello::short_hash;
use crate::cluster::membership::identity::fingerprint;
use crate::cluster::request::admission::Admission;
use crate::cluster::request::coordinator::Coordinator;
use crate::config::{EngineConfig, Settings};
use crate::http::hosts::AllowedHosts;
use crate::http::{Api, Listening, Pictures, Server};
use crate::link::interface::{Changes, interfaces};
use crate::link::{ByteBudget, Link, LinkError, LocalAddresses, NetworkSettings};
use crate::server::{MessagePlaces, Services};
use crate::text::TextService;
use address_watch::watch_addresses;
use astra_model::engine::Runtime;
use current_coordinator::CurrentCoordinator;
use load::{measure_speed, runtime_name};
use membership::{ClusterMembership, hello};

pub use error::NodeError;
pub use load::{Loaded, load};

/// Time for requests in work to end before the device leaves.
const DRAIN: Duration = Duration::from_secs(10);

/// A running device.
pub struct Node {
    membership: Arc<ClusterMembership>,
    address_watch: Option<JoinHandle<()>>,
    http: Option<Server>,
    runtime: Runtime,
}

impl Node {
    /// Loads the model and joins the network at the same time, then announces the device to the cluster.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(settings: Settings) -> Result<Self, NodeError> {
        Self::start_with_versions(settings, Versions::OURS).await
    }

    /// As [`start`](Self::start), as a device that reads other wire versions than this crate: for tests of devices of several versions.
    #[doc(hidden)]
    pub async fn start_with_versions(
        settings: Settings,
        versions: Versions,
    ) -> Result<Self, NodeError> {
        // First, for an error before the model is loaded.
        let listening = match settings.http {
            Some(address) => Some(Listening::at(address).await?),
            None => None,
        };
        // Before addresses are resolved, so that no change is missed.
        let changes = Changes::subscribe();
        let network = settings.link;
        let addresses = first_addresses(&network)?;
        let (dir, engine) = (settings.bundle, settings.engine);
        let loading = tokio::task::spawn_blocking(move || load_with(&dir, &engine));
        let key = fingerprint(&network.cluster, &settings.key);
        // Scouting takes a while too.
        let opening = Link::open(network.link_settings(&addresses));
        let (loaded, link) = tokio::join!(loading, opening);
        let loaded = loaded.map_err(|error| NodeError::Stopped(error.to_string()))??;
        let link = link?;
        let speed = measure_speed(&loaded).await?;
        let device = Parts {
            id: link.id(),
            name: settings.name,
            key,
            versions,
            speed,
            link: link.clone(),
            worker: loaded.worker,
            input: loaded.input,
        };
        let hello = hello(
            &device,
            &runtime_name(&loaded.runtime),
            &link.addresses().await,
        );
        let device = Arc::new(Device::new(device));
        let coordinator = Coordinator::new(device, settings.defaults);
        let coordinator = Arc::new(CurrentCoordinator::new(coordinator));
        let text = loaded.text.map(|text| {
            let model = Arc::clone(&coordinator);
            Arc::new(TextService::new(model, text))
        });
        let services = Services {
            text,
            admission: Admission::default(),
            bytes: ByteBudget::of_memory(),
            messages: MessagePlaces::default(),
        };
        let api = Arc::new(api(&hello, &coordinator, &services, &settings.allow_host));
        let starting = ClusterMembership::start(network, addresses, coordinator, services, hello);
        let membership = Arc::new(starting.await?);
        Ok(Self {
            address_watch: spawn_address_watch(&membership, changes),
            membership,
            http: listening.map(|listening| listening.serve(api)),
            runtime: loaded.runtime,
        })
    }

    /// The hello of the device.
    pub fn hello(&self) -> Arc<Hello> {
        self.membership.hello()
    }

    /// Name of its cluster.
    pub fn cluster(&self) -> String {
        self.membership.settings.cluster.to_string()
    }

    /// How many other devices can be members of its requests.
    pub fn others(&self) -> usize {
        self.membership.coordinator.get().device().others()
    }

    /// The address at which HTTP is served, if it is.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(Server::address)
    }

    /// What is missing to be in the cluster, for people: a network, or an address of the settings. `None` while the device is.
    pub fn missing(&self) -> Option<String> {
        self.membership.missing()
    }

    /// Whether weights were to be mapped from a cache that cannot be used.
    pub fn lacks_weights_cache(&self) -> bool {
        self.runtime.lacks_weights_cache()
    }

    /// Checks that the device handles messages within `reply`, and that its compute thread makes progress within `step`. No message
    /// is sent for it: a network that others fill must not look like a device that hangs. While it is out of the cluster, only the
    /// thread is checked.
    ///
    /// # Errors
    /// What does not work.
    pub async fn check_alive(&self, reply: Duration, step: Duration) -> Result<(), String> {
        let coordinator = self.membership.coordinator.get();
        if !coordinator.device().worker.makes_progress(step) {
            return Err(format!("the compute thread has not moved for {step:?}"));
        }
        match tokio::time::timeout(reply, self.membership.handles_messages()).await {
            Ok(true) => Ok(()),
            _ => Err(format!("no message has been handled for {reply:?}")),
        }
    }

    /// Leaves the cluster: others stop counting on this device before it is gone. Requests in work have 10 s to end; new ones are
    /// refused meanwhile.
    pub async fn stop(self) {
        self.membership.drain(DRAIN).await;
        if let Some(http) = self.http {
            http.stop().await;
        }
        if let Some(watch) = self.address_watch {
            watch.abort();
            // Joining that is under way is done or given up when this returns.
            let _ = watch.await;
        }
        self.membership.end().await;
    }
}

/// Loads ONNX Runtime as it is configured, and the bundle in `dir` with it. Blocks for seconds.
fn load_with(dir: &Path, engine: &EngineConfig) -> Result<Loaded, NodeError> {
    let runtime = Runtime::load(engine.onnxruntime.as_deref(), engine.threads)?;
    let runtime = runtime.with_providers(&engine.execution_providers)?;
    let runtime = runtime.with_prepacking(engine.prepacking);
    load(dir, runtime, engine.weights_cache().as_deref())
}

/// The addresses at the start. One of the settings is taken even if its interface has no carrier yet.
fn first_addresses(network: &NetworkSettings) -> Result<LocalAddresses, LinkError> {
    let settings = &network.addresses;
    settings.check()?;
    match (settings.resolve(&interfaces()), settings.listen.first()) {
        (Err(LinkError::AddressMissing(_)), Some(first)) => Ok(LocalAddresses::configured(
            settings.listen.clone(),
            first.ip(),
        )),
        (addresses, _) => addresses,
    }
}

fn spawn_address_watch(
    membership: &Arc<ClusterMembership>,
    changes: std::io::Result<Changes>,
) -> Option<JoinHandle<()>> {
    let changes = changes.inspect_err(|error| {
        tracing::warn!(%error, "changes of this machine's address will not be noticed");
    });
    let membership = Arc::clone(membership);
    Some(tokio::spawn(watch_addresses(membership, changes.ok()?)))
}

fn api(
    hello: &Hello,
    current: &Arc<CurrentCoordinator>,
    services: &Services,
    allow_host: &[String],
) -> Api {
    let coordinator = current.get();
    let device = coordinator.device();
    let manifest = device.bundle().manifest().clone();
    let pictures = manifest.image.is_some();
    let mut api = Api::new(
        hello.name.as_str().to_owned(),
        device.link().cluster().to_string(),
        short_hash(&hello.bundle),
        manifest,
    );
    api.hosts = AllowedHosts::of_machine(allow_host);
    api.words = services.text.clone();
    api.admission = services.admission.clone();
    api.bytes = services.bytes.clone();
    api.pictures = pictures.then(|| Arc::clone(current) as Arc<dyn Pictures>);
    api
}

/// A hello in one line, for people.
pub fn describe(hello: &Hello) -> String {
    let addresses: Vec<&str> = hello
        .addresses
        .iter()
        .map(|address| address.as_str())
        .collect();
    format!(
        "{} ({}) with {} [{}] at {}, {:.1} ms alone",
        hello.name,
        short_id(hello.device),
        hello.model,
        short_hash(&hello.bundle),
        addresses.join(", "),
        f64::from(hello.speed) / 1e3,
    )
}

/// The first eight digits of a device's id, for people.
pub fn short_id(device: DeviceId) -> String {
    device.to_string().chars().take(8).collect()
}
