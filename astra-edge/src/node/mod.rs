//! A device from its start to its end: loads the model, joins the cluster, and leaves it in order.
//!
//! Where its address changes meanwhile it leaves the cluster and joins again from the new one, under a new id: `roaming` decides
//! when, `follow` does it, `membership` is one stay, and `current` has questions of this machine's own programs find the way.

mod current;
mod follow;
mod load;
mod membership;
mod roaming;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use astra_bundle::BundleError;
use astra_wire::{Control, DeviceId, EmitError, Hello};
use tokio::task::JoinHandle;

use crate::cluster::device::{Device, Parts};
use crate::cluster::membership::hello::short_hash;
use crate::cluster::membership::identity::{fingerprint, new_device_id};
use crate::cluster::request::admission::Admission;
use crate::cluster::request::coordinator::Coordinator;
use crate::config::Settings;
use crate::http::{Api, HttpError, Listening, Pictures, Server};
use crate::link::encode;
use crate::link::interface::{Changes, interfaces};
use crate::link::{Joining, Link, LinkError, Place};
use crate::server::Services;
use crate::text::{TextError, TextService};
use crate::worker::WorkerError;
use astra_model::engine::{EngineError, Runtime};
use current::Current;
use follow::follow;
use load::{in_words, measure};
use membership::{Member, hello};

pub use load::{Loaded, load};

/// Why a device does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The bundle is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// ONNX Runtime was not found, or does not load.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model does not run.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The network refuses.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The model is not one of photographs.
    #[error("{bundle}: model: found one that takes text, expected one that takes pictures")]
    NoImage {
        /// The bundle.
        bundle: String,
    },
    /// The hello does not fit a message.
    #[error("hello: {0}")]
    Hello(#[from] EmitError),
    /// The bundle's tokenizer or chat template is refused.
    #[error(transparent)]
    TextService(#[from] TextError),
    /// HTTP cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Part of the program ended early.
    #[error("stopped while starting: {0}")]
    Stopped(String),
}

/// A device at work.
pub struct Node {
    member: Arc<Member>,
    following: Option<JoinHandle<()>>,
    http: Option<Server>,
    runtime: Runtime,
}

impl Node {
    /// Loads the model and joins the network side by side, then shows the device to the cluster.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(settings: Settings) -> Result<Self, NodeError> {
        // An address that is taken shows before the model has been waited for.
        let listening = match settings.http {
            Some(address) => Some(Listening::at(address).await?),
            None => None,
        };
        // Before the first look, so that no change is missed.
        let changes = Changes::subscribe();
        let joining = settings.link;
        let place = first_place(&joining)?;
        let (dir, engine) = (settings.bundle, settings.engine);
        let loading = tokio::task::spawn_blocking(move || {
            let runtime = Runtime::load(engine.onnxruntime.as_deref(), engine.threads)?;
            let runtime = runtime.with_providers(&engine.execution_providers)?;
            let runtime = runtime.with_prepacking(engine.prepacking);
            load(&dir, runtime, engine.weights_cache().as_deref())
        });
        let key = fingerprint(&joining.cluster, &settings.key);
        // Finding the others takes its time too: it need not wait for the model.
        let (loaded, link) = tokio::join!(loading, Link::open(joining.at(&place)));
        let loaded = loaded.map_err(|error| NodeError::Stopped(error.to_string()))??;
        let link = link?;
        let speed = measure(&loaded).await?;
        let device = Parts {
            id: new_device_id(),
            name: settings.name,
            key,
            speed,
            link: link.clone(),
            worker: loaded.worker,
            input: loaded.input,
        };
        let hello = hello(&device, &in_words(&loaded.runtime), &link.addresses().await);
        let device = Arc::new(Device::new(device));
        let current = Arc::new(Current::new(Coordinator::new(device, settings.defaults)));
        let text = loaded.text.map(|text| {
            let model = Arc::clone(&current);
            Arc::new(TextService::new(model, text))
        });
        let services = Services {
            text,
            admission: Admission::default(),
        };
        let api = Arc::new(api(&hello, &current, &services));
        let member = Member::begin(joining, place, current, services, hello).await?;
        let member = Arc::new(member);
        Ok(Self {
            following: following(&member, changes),
            member,
            http: listening.map(|listening| listening.serve(api)),
            runtime: loaded.runtime,
        })
    }

    /// What the device says of itself.
    pub fn hello(&self) -> Arc<Hello> {
        self.member.hello()
    }

    /// Name of its cluster.
    pub fn cluster(&self) -> String {
        self.member.joining.cluster.to_string()
    }

    /// Other devices that can be members of its requests.
    pub fn others(&self) -> usize {
        self.member.current.get().device().others()
    }

    /// Where HTTP is served, if it is.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(Server::address)
    }

    /// What the device waits for while it has left the cluster: a network, or an address that settings name.
    pub fn waits_for(&self) -> Option<String> {
        self.member.waits_for()
    }

    /// Whether weights were to be mapped from a cache that cannot be used.
    pub fn lacks_weights_cache(&self) -> bool {
        self.runtime.lacks_weights_cache()
    }

    /// Whether the device still does what it is for: it answers, through its own session, within `answer`, and its computing
    /// thread gets on within `step`. While it waits for a network, the thread is all there is.
    ///
    /// # Errors
    /// What does not happen.
    pub async fn alive(&self, answer: Duration, step: Duration) -> Result<(), String> {
        let coordinator = self.member.current.get();
        let device = coordinator.device();
        if !device.worker.makes_progress(step) {
            return Err(format!("the computing thread has not moved for {step:?}"));
        }
        // A question about no plan: whoever reads messages here refuses it, and that is an answer.
        let question = encode(&Control::Probe { plan: 0, epoch: 0 });
        let question = question.map_err(|error| error.to_string())?;
        let asked = device.link().ask_control(device.id(), "", question, answer);
        match asked.await {
            Err(error) if self.member.is_at(&coordinator) => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Leaves the cluster: others stop counting on this device before it is gone.
    pub async fn stop(self) {
        if let Some(http) = self.http {
            http.stop().await;
        }
        if let Some(following) = self.following {
            following.abort();
            // A stay that is begun in this moment is begun or given up when this returns.
            let _ = following.await;
        }
        self.member.end().await;
    }
}

/// Where the device is at its start. An address that settings name and whose interface has no carrier yet will do.
fn first_place(joining: &Joining) -> Result<Place, LinkError> {
    let reach = &joining.reach;
    reach.check()?;
    match (reach.place(&interfaces()), reach.listen.first()) {
        (Err(LinkError::Away(_)), Some(first)) => {
            Ok(Place::named(reach.listen.clone(), first.ip()))
        }
        (place, _) => place,
    }
}

/// Has the device go where its address goes.
fn following(member: &Arc<Member>, changes: std::io::Result<Changes>) -> Option<JoinHandle<()>> {
    let changes = changes.inspect_err(|error| {
        tracing::warn!(%error, "a change of this machine's address will not be noticed");
    });
    let member = Arc::clone(member);
    Some(tokio::spawn(follow(member, changes.ok()?)))
}

/// What HTTP answers with.
fn api(hello: &Hello, current: &Arc<Current>, services: &Services) -> Api {
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
    api.words = services.text.clone();
    api.admission = services.admission.clone();
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

/// The first eight digits of a device's id, as people tell devices of one name apart.
pub fn short_id(device: DeviceId) -> String {
    device.to_string().chars().take(8).collect()
}
