//! The thread that computes: one for a device, plain, so that nothing is handed over in the middle of a block.
//!
//! Everything else talks to it through [`Worker`], which queues orders and waits for their outcome without blocking.

use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use astra_bundle::Bundle;
use tokio::sync::oneshot;

use crate::engine::{Answer, Codec, EngineError, Head, Model, Runtime, Whole};
use crate::gather::Gather;
use crate::job::{DataPath, FrameSink, JobError, Order, Outcome};
use crate::plan::Plan;

/// Plans whose buffers are kept; one coordinator needs one, and a device can serve a few.
const PLANS: usize = 4;

/// Why an order did not come to an outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The member's part failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The plan was never set up here, or was dropped for newer ones.
    #[error("plan {plan:016x} is not set up on this device")]
    UnknownPlan {
        /// The plan.
        plan: u64,
    },
    /// The thread did not start.
    #[error("the computing thread did not start: {0}")]
    Start(std::io::Error),
    /// The thread ended.
    #[error("the computing thread has ended")]
    Ended,
}

impl From<EngineError> for WorkerError {
    fn from(error: EngineError) -> Self {
        Self::Job(error.into())
    }
}

/// Handle of the computing thread. Dropping it ends the thread after the order at hand.
pub struct Worker {
    orders: mpsc::Sender<Command>,
    bundle: Arc<Bundle>,
}

type Reply<T> = oneshot::Sender<Result<T, WorkerError>>;

enum Command {
    Install {
        plan: Arc<Plan>,
        me: usize,
        sink: Box<dyn FrameSink>,
        reply: Reply<Arc<Gather>>,
    },
    Run {
        plan: u64,
        order: Order,
        reply: Reply<Outcome>,
    },
    Whole {
        pixels: Vec<u8>,
        reply: Reply<(Answer, Duration)>,
    },
    Head {
        cls: Vec<f32>,
        patches: Vec<f32>,
        reply: Reply<Answer>,
    },
    Remove {
        plan: u64,
    },
}

impl Worker {
    /// Opens the bundle's graphs and starts the thread.
    ///
    /// # Errors
    /// A graph is refused, or the system has no thread.
    pub fn start(runtime: Runtime, bundle: Arc<Bundle>) -> Result<Self, WorkerError> {
        let (orders, queue) = mpsc::channel();
        let mut bench = Bench::open(runtime, Arc::clone(&bundle))?;
        std::thread::Builder::new()
            .name("astra-compute".to_owned())
            .spawn(move || {
                while let Ok(command) = queue.recv() {
                    bench.obey(command);
                }
            })
            .map_err(WorkerError::Start)?;
        Ok(Self { orders, bundle })
    }

    /// The bundle in use.
    pub fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// Allocates member `me`'s place in a plan and returns where its frames are to be delivered.
    ///
    /// # Errors
    /// The rung is not in the bundle, or there is no memory.
    pub async fn install(
        &self,
        plan: Arc<Plan>,
        me: usize,
        sink: Box<dyn FrameSink>,
    ) -> Result<Arc<Gather>, WorkerError> {
        self.ask(|reply| Command::Install {
            plan,
            me,
            sink,
            reply,
        })
        .await
    }

    /// Runs this device's part of a request in a plan set up before.
    ///
    /// # Errors
    /// The plan is unknown here, the request was cancelled, or a step failed.
    pub async fn run(&self, plan: u64, order: Order) -> Result<Outcome, WorkerError> {
        self.ask(|reply| Command::Run { plan, order, reply }).await
    }

    /// Runs the whole model here: pixels of all tokens, [T, patch * patch * 3] bytes. Also says how long it took.
    ///
    /// # Errors
    /// The pixels do not fit, or ONNX Runtime fails.
    pub async fn whole(&self, pixels: Vec<u8>) -> Result<(Answer, Duration), WorkerError> {
        self.ask(|reply| Command::Whole { pixels, reply }).await
    }

    /// Turns the class token, [D], and patch features, [T, D], into the answer.
    ///
    /// # Errors
    /// Lengths differ from these, or ONNX Runtime fails.
    pub async fn head(&self, cls: Vec<f32>, patches: Vec<f32>) -> Result<Answer, WorkerError> {
        self.ask(|reply| Command::Head {
            cls,
            patches,
            reply,
        })
        .await
    }

    /// Frees a plan's buffers.
    pub fn remove(&self, plan: u64) {
        // A thread that has ended has freed them already.
        let _ = self.orders.send(Command::Remove { plan });
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, WorkerError> {
        let (reply, outcome) = oneshot::channel();
        self.orders
            .send(command(reply))
            .map_err(|_| WorkerError::Ended)?;
        outcome.await.map_err(|_| WorkerError::Ended)?
    }
}

/// What the thread owns.
struct Bench {
    runtime: Runtime,
    bundle: Arc<Bundle>,
    model: Model,
    head: Head,
    /// Opened when first asked for: most requests go to the cluster, and it holds the weights a second time.
    whole: Option<Whole>,
    /// Least recently used first.
    paths: Vec<DataPath>,
    codecs: Vec<Weak<Codec>>,
    pixels: usize,
}

impl Bench {
    fn open(runtime: Runtime, bundle: Arc<Bundle>) -> Result<Self, WorkerError> {
        let manifest = bundle.manifest();
        let pixels = manifest.image.as_ref().map_or(0, |image| {
            image.patch.saturating_mul(image.patch).saturating_mul(3)
        });
        Ok(Self {
            model: Model::open(&runtime, bundle.dir(), &manifest.shape)?,
            head: Head::open(&runtime, bundle.dir(), manifest)?,
            whole: None,
            paths: Vec::new(),
            codecs: Vec::new(),
            pixels,
            runtime,
            bundle,
        })
    }

    /// Whoever asked may have stopped waiting; the outcome is then nobody's.
    fn obey(&mut self, command: Command) {
        match command {
            Command::Install {
                plan,
                me,
                sink,
                reply,
            } => drop(reply.send(self.install(plan, me, sink))),
            Command::Run { plan, order, reply } => drop(reply.send(self.run(plan, &order))),
            Command::Whole { pixels, reply } => drop(reply.send(self.whole(&pixels))),
            Command::Head {
                cls,
                patches,
                reply,
            } => drop(reply.send(self.head.run(cls, patches).map_err(Into::into))),
            Command::Remove { plan } => self.paths.retain(|path| path.plan().id != plan),
        }
    }

    fn install(
        &mut self,
        plan: Arc<Plan>,
        me: usize,
        sink: Box<dyn FrameSink>,
    ) -> Result<Arc<Gather>, WorkerError> {
        self.paths.retain(|path| path.plan().id != plan.id);
        if self.paths.len() >= PLANS {
            self.paths.remove(0);
        }
        let codec = self.codec(plan.rung)?;
        let path = DataPath::new(&self.model, codec, plan, me, self.pixels, sink)?;
        let gather = Arc::clone(path.gather());
        self.paths.push(path);
        Ok(gather)
    }

    /// Plans of one rung share its tables.
    fn codec(&mut self, rung: u16) -> Result<Arc<Codec>, WorkerError> {
        self.codecs.retain(|codec| codec.strong_count() > 0);
        let mut loaded = self.codecs.iter().filter_map(Weak::upgrade);
        if let Some(codec) = loaded.find(|codec| codec.bits() == rung) {
            return Ok(codec);
        }
        let codec = Arc::new(Codec::load(&self.bundle, rung)?);
        self.codecs.push(Arc::downgrade(&codec));
        Ok(codec)
    }

    fn run(&mut self, plan: u64, order: &Order) -> Result<Outcome, WorkerError> {
        let place = self.paths.iter().position(|path| path.plan().id == plan);
        let place = place.ok_or(WorkerError::UnknownPlan { plan })?;
        let path = self.paths.remove(place);
        self.paths.push(path);
        let Some(path) = self.paths.last_mut() else {
            return Err(WorkerError::UnknownPlan { plan });
        };
        Ok(path.run(&mut self.model, order)?)
    }

    fn whole(&mut self, pixels: &[u8]) -> Result<(Answer, Duration), WorkerError> {
        let whole = match &mut self.whole {
            Some(whole) => whole,
            None => {
                let (dir, manifest) = (self.bundle.dir(), self.bundle.manifest());
                self.whole
                    .insert(Whole::open(&self.runtime, dir, manifest)?)
            }
        };
        let start = Instant::now();
        let answer = whole.run(pixels)?;
        Ok((answer, start.elapsed()))
    }
}
