//! A device from its start to its end: loads the model, joins the cluster, and leaves it in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use astra_bundle::{Bundle, BundleError, ImageInput, Task};
use astra_wire::{Control, DeviceId, EmitError, Hello, MIN_VERSION, VERSION};
use tokio::sync::mpsc;

use crate::cluster::coordinator::Coordinator;
use crate::cluster::device::{Device, Parts, encode, measured_tokens};
use crate::cluster::hello::short_hash;
use crate::cluster::identity::{SOFTWARE, fingerprint, new_device_id, shorten};
use crate::cluster::words::{Text, Words, WordsError};
use crate::cluster::{discovery, service};
use crate::config::Settings;
use crate::engine::{EngineError, OwnedInput, Provider, Runtime};
use crate::generate::{Generation, Prefill};
use crate::http::{Api, HttpError, Listening, Pictures, Server};
use crate::link::presence::Watch;
use crate::link::{Link, LinkError, Service, Token};
use crate::worker::{Worker, WorkerError};

/// Runs that the measure of speed is the best of.
const MEASURED: usize = 2;

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
    #[error("{bundle}: the model takes no image")]
    NoImage {
        /// The bundle.
        bundle: String,
    },
    /// The hello does not fit a message.
    #[error("hello: {0}")]
    Hello(#[from] EmitError),
    /// The bundle's tokenizer or chat template is refused.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// HTTP cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Part of the program ended early.
    #[error("stopped while starting: {0}")]
    Stopped(String),
}

/// A device at work.
pub struct Node {
    coordinator: Arc<Coordinator>,
    hello: Hello,
    token: Token,
    _watch: Watch,
    _services: [Service; 2],
    http: Option<Server>,
}

/// A model that is ready to run.
pub struct Loaded {
    /// The computing thread.
    pub worker: Worker,
    /// How a photograph becomes its input, if it sees.
    pub input: Option<ImageInput>,
    /// What runs it, for people.
    pub runtime: String,
    /// What it has for text.
    pub text: Option<Text>,
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
        let (dir, library) = (settings.bundle.clone(), settings.onnxruntime.clone());
        let (threads, prepacking) = (settings.threads, settings.prepacking);
        let (providers, cache) = (settings.execution_providers, settings.weights_cache);
        let loading = tokio::task::spawn_blocking(move || {
            let runtime = Runtime::load(library.as_deref(), threads)?;
            let runtime = runtime.with_providers(&providers)?;
            load(&dir, runtime.with_prepacking(prepacking), cache.as_deref())
        });
        let key = fingerprint(&settings.link.cluster, &settings.key);
        // Finding the others takes its time too: it need not wait for the model.
        let (loaded, link) = tokio::join!(loading, Link::open(settings.link));
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
        let hello = hello(&device, &loaded.runtime, &link.addresses().await);
        let device = Arc::new(Device::new(device));
        let coordinator = Arc::new(Coordinator::new(device, settings.defaults));
        let words = loaded.text.map(|text| {
            let model = Arc::clone(&coordinator);
            Arc::new(Words::new(model, text))
        });
        let mut node = Self::join(Arc::clone(&coordinator), words.clone(), &link, hello).await?;
        let api = || api(&node.hello, &coordinator, words);
        node.http = listening.map(|listening| listening.serve(Arc::new(api())));
        Ok(node)
    }

    /// Serves before it shows itself: whoever sees the device may speak to it.
    async fn join(
        coordinator: Arc<Coordinator>,
        words: Option<Arc<Words>>,
        link: &Link,
        hello: Hello,
    ) -> Result<Self, NodeError> {
        let device = Arc::clone(coordinator.device());
        let greeting = encode(&Control::Hello(hello.clone()))?;
        let answering_hello = link.serve_hello(device.id(), greeting).await?;
        let (answering_control, messages) = link.serve_control(device.id()).await?;
        tokio::spawn(service::serve(Arc::clone(&coordinator), words, messages));
        let (events, seen) = mpsc::unbounded_channel();
        tokio::spawn(discovery::follow(Arc::clone(&device), seen));
        let watch = link.watch(events).await?;
        let token = link.announce(device.id()).await?;
        Ok(Self {
            coordinator,
            hello,
            token,
            _watch: watch,
            _services: [answering_hello, answering_control],
            http: None,
        })
    }

    /// What the device says of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Name of its cluster.
    pub fn cluster(&self) -> String {
        self.coordinator.device().link().cluster().to_string()
    }

    /// Other devices that can be members of its requests.
    pub fn others(&self) -> usize {
        self.coordinator.device().others()
    }

    /// Where HTTP is served, if it is.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(Server::address)
    }

    /// Whether the device still does what it is for: it answers, through its own session, within `answer`, and its computing
    /// thread gets on within `step`.
    ///
    /// # Errors
    /// What does not happen.
    pub async fn alive(&self, answer: Duration, step: Duration) -> Result<(), String> {
        let device = self.coordinator.device();
        if !device.worker.gets_on(step) {
            return Err(format!("the computing thread has not moved for {step:?}"));
        }
        // A question about no plan: whoever reads messages here refuses it, and that is an answer.
        let question = encode(&Control::Plan { plan: 0, epoch: 0 });
        let question = question.map_err(|error| error.to_string())?;
        let asked = device.link().ask_control(device.id(), "", question, answer);
        asked.await.map(drop).map_err(|error| error.to_string())
    }

    /// Leaves the cluster: others stop counting on this device before it is gone.
    pub async fn stop(self) {
        if let Some(http) = self.http {
            http.stop().await;
        }
        let device = self.coordinator.device();
        let leave = Control::Leave {
            device: device.id(),
        };
        if let Ok(leave) = encode(&leave) {
            device.link().tell_all(leave).await;
        }
        self.token.remove().await;
        device.link().close().await;
    }
}

/// Opens a bundle and starts the computing thread, with packed weights mapped from `cache` if there is one. Takes a while and blocks.
///
/// # Errors
/// The bundle is refused.
pub fn load(bundle: &Path, runtime: Runtime, cache: Option<&Path>) -> Result<Loaded, NodeError> {
    let bundle = Arc::new(Bundle::open(bundle)?);
    let runtime = match cache {
        Some(cache) => runtime.with_packed_weights(&bundle, cache),
        None => runtime,
    };
    let input = bundle.manifest().image;
    let text = Text::open(bundle.dir(), bundle.manifest())?;
    Ok(Loaded {
        text,
        runtime: in_words(&runtime),
        worker: Worker::start(runtime, bundle)?,
        input,
    })
}

/// The library and what computes: `libonnxruntime.so.1.32.0 tensorrt, cuda, cpu`.
fn in_words(runtime: &Runtime) -> String {
    let name = runtime.path().file_name().unwrap_or_default();
    let providers: Vec<String> = runtime
        .providers()
        .iter()
        .map(Provider::to_string)
        .collect();
    format!("{} {}", name.to_string_lossy(), providers.join(", "))
}

/// Microseconds of one whole request, a neutral image or a text of typical length: best of a few after one that warms up.
async fn measure(loaded: &Loaded) -> Result<u32, NodeError> {
    let mut best = Duration::MAX;
    for run in 0..=MEASURED {
        let took = measure_once(loaded, run).await?;
        if run > 0 {
            best = best.min(took);
        }
    }
    // Most requests go to the cluster, and the graph that was measured holds memory that they do not need.
    loaded.worker.close_whole();
    // 0 would mean not measured.
    Ok(u32::try_from(best.as_micros()).unwrap_or(u32::MAX).max(1))
}

async fn measure_once(loaded: &Loaded, run: usize) -> Result<Duration, NodeError> {
    let worker = &loaded.worker;
    let manifest = worker.bundle().manifest();
    let Some(text) = &manifest.text else {
        let patch = loaded.input.map_or(0, |input| input.patch);
        let grey = vec![128; manifest.shape.tokens * patch * patch * 3];
        let (_, took) = worker.whole(OwnedInput::Pixels(grey)).await?;
        return Ok(took);
    };
    // Each run begins with another token, or the cache would spare it the rest.
    let ids = (run..run + measured_tokens(manifest)).map(|id| (id % text.vocab.max(1)) as u32);
    let ids: Vec<u32> = ids.collect();
    if !matches!(manifest.task, Task::Generation) {
        let (_, took) = worker.whole(OwnedInput::Ids(ids)).await?;
        return Ok(took);
    }
    let ended = worker.generate(Generation {
        prompt: ids,
        prefill: Prefill::Alone,
        max_tokens: 0,
        choose: Box::new(|_, _| 0),
        take: Box::new(|_| false),
        stop: Arc::default(),
    });
    Ok(ended.await?.prefill)
}

fn hello(parts: &Parts, runtime: &str, addresses: &[String]) -> Hello {
    let bundle = parts.worker.bundle();
    Hello {
        min_version: MIN_VERSION,
        version: VERSION,
        device: parts.id,
        name: shorten(&parts.name),
        software: shorten(SOFTWARE),
        runtime: shorten(runtime),
        key: parts.key,
        bundle: bundle.hash(),
        model: shorten(&bundle.manifest().model),
        speed: parts.speed,
        addresses: addresses
            .iter()
            .take(8)
            .map(|address| shorten(address))
            .collect(),
    }
}

/// What HTTP answers with.
fn api(hello: &Hello, coordinator: &Arc<Coordinator>, words: Option<Arc<Words>>) -> Api {
    let device = coordinator.device();
    let manifest = device.bundle().manifest().clone();
    let pictures = manifest.image.is_some();
    let mut api = Api::new(
        hello.name.as_str().to_owned(),
        device.link().cluster().to_string(),
        short_hash(&hello.bundle),
        manifest,
    );
    api.words = words;
    api.pictures = pictures.then(|| Arc::clone(coordinator) as Arc<dyn Pictures>);
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
