//! The thread that computes: one for a device, plain, so that nothing is handed over in the middle of a block.
//!
//! Everything else talks to it through [`Worker`], which queues orders and waits for their outcome without blocking.

mod bench;
mod paths;
mod pulse;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use astra_bundle::Bundle;
use tokio::sync::oneshot;

use crate::gather::Gather;
use crate::generate::{Ended, Generation};
use crate::job::{FrameSink, JobError, Order, Outcome};
use crate::plan::Plan;
use astra_model::engine::{Answer, COMPUTING, EngineError, OwnedInput, Runtime};
use bench::Bench;
use pulse::Pulse;

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
    /// No token of the prompt is there from the generation before.
    #[error("nothing of the prompt is in this device's cache")]
    NotCached,
    /// An input of another kind than the bundle's task takes.
    #[error("the bundle's model is for another task")]
    OtherTask,
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
    pulse: Arc<Pulse>,
}

/// A device that nobody asked anything for so long gives back memory, which the next request takes anew.
const IDLE: Duration = Duration::from_secs(60);

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
    Generate {
        generation: Box<Generation>,
        reply: Reply<Ended>,
    },
    Whole {
        input: OwnedInput,
        reply: Reply<(Answer, Duration)>,
    },
    Head {
        cls: Vec<f32>,
        patches: Vec<f32>,
        reply: Reply<Answer>,
    },
    Scores {
        patches: Vec<f32>,
        halos: [bool; 2],
        reply: Reply<Vec<f32>>,
    },
    Finish {
        scores: Vec<f32>,
        reply: Reply<Answer>,
    },
    Remove {
        plan: u64,
    },
    CloseWhole,
}

impl Worker {
    /// Opens the bundle's graphs and starts the thread.
    ///
    /// # Errors
    /// A graph is refused, or the system has no thread.
    pub fn start(runtime: Runtime, bundle: Arc<Bundle>) -> Result<Self, WorkerError> {
        let (orders, queue) = mpsc::channel();
        let pulse = Arc::new(Pulse::new());
        let mut bench = Bench::open(runtime, Arc::clone(&bundle), Arc::clone(&pulse))?;
        let beating = Arc::clone(&pulse);
        std::thread::Builder::new()
            .name(COMPUTING.to_owned())
            .spawn(move || {
                while let Some(command) = next(&queue, || bench.rest()) {
                    beating.beat();
                    bench.obey(command);
                    beating.rest();
                }
            })
            .map_err(WorkerError::Start)?;
        Ok(Self {
            orders,
            bundle,
            pulse,
        })
    }

    /// Whether the thread has nothing to do, or the step it is at (a block, a piece of a prompt, a token of a generation) takes no
    /// longer than `limit` so far. Members may wait for each other until their deadline.
    pub fn gets_on(&self, limit: Duration) -> bool {
        self.pulse.is_regular(limit)
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

    /// Computes a prompt and goes on from it, to the end.
    ///
    /// # Errors
    /// The model does not generate, the plan is unknown here or nothing is cached, the prompt's request was cancelled, or a
    /// step failed.
    pub async fn generate(&self, generation: Generation) -> Result<Ended, WorkerError> {
        let (mut take, pulse) = (generation.take, Arc::clone(&self.pulse));
        let generation = Box::new(Generation {
            take: Box::new(move |token| {
                pulse.beat();
                take(token)
            }),
            ..generation
        });
        self.ask(|reply| Command::Generate { generation, reply })
            .await
    }

    /// Runs the whole model here, for all tokens; a text's features are the answer's patches. Also says how long it took.
    ///
    /// # Errors
    /// The input does not fit, or ONNX Runtime fails.
    pub async fn whole(&self, input: OwnedInput) -> Result<(Answer, Duration), WorkerError> {
        self.ask(|reply| Command::Whole { input, reply }).await
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

    /// Closes the graph of the whole model; a request that needs it opens it again.
    pub fn close_whole(&self) {
        // A thread that has ended has closed it already.
        let _ = self.orders.send(Command::CloseWhole);
    }

    /// Scores of rows of patches, of a head that members share: see [`SharedHead::scores`](astra_model::engine::SharedHead::scores).
    ///
    /// # Errors
    /// The head is not one of those, the rows are none, or ONNX Runtime fails.
    pub async fn scores(
        &self,
        patches: Vec<f32>,
        halos: [bool; 2],
    ) -> Result<Vec<f32>, WorkerError> {
        self.ask(|reply| Command::Scores {
            patches,
            halos,
            reply,
        })
        .await
    }

    /// The answer of the scores of all rows: see [`SharedHead::finish`](astra_model::engine::SharedHead::finish).
    ///
    /// # Errors
    /// As for [`scores`](Self::scores).
    pub async fn finish(&self, scores: Vec<f32>) -> Result<Answer, WorkerError> {
        self.ask(|reply| Command::Finish { scores, reply }).await
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

/// The next command; none when nobody is left to give one. `idle` runs, once, where it is long in coming.
fn next(queue: &Receiver<Command>, idle: impl FnOnce()) -> Option<Command> {
    match queue.recv_timeout(IDLE) {
        Err(RecvTimeoutError::Timeout) => {
            idle();
            queue.recv().ok()
        }
        there => there.ok(),
    }
}
