//! The compute thread: one plain thread per device, so that a block is not interrupted by the async runtime.
//!
//! [`Worker`] sends commands to it over a queue and awaits their results.

mod plan_cache;
mod prefill;
mod state;
mod watchdog;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use astra_bundle::Bundle;
use tokio::sync::oneshot;

use crate::gather::{Gather, GatherError};
use crate::generation::{GenerationJob, GenerationStats};
use crate::job::{FrameSink, Job, JobError, JobOutput};
use crate::plan::Plan;
use astra_model::engine::{COMPUTE_THREAD, EngineError, ModelOutput, OwnedInput, Runtime};
use state::WorkerState;
use watchdog::Watchdog;

/// A command of the compute thread failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The member's part of a request failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The plan was never set up on this device, or was evicted.
    #[error("plan {plan:016x} is not set up on this device")]
    UnknownPlan {
        /// The plan.
        plan: u64,
    },
    /// No token of the prompt is in the KV cache.
    #[error("no token of the prompt is in this device's KV cache")]
    NotCached,
    /// The command is not of the bundle's task.
    #[error("the bundle's model is for another task")]
    OtherTask,
    /// The thread did not start.
    #[error("the compute thread did not start: {0}")]
    Start(std::io::Error),
    /// The thread ended.
    #[error("the compute thread has ended")]
    Ended,
}

impl WorkerError {
    /// Whether the plan has to be set up again: this device does not have it, or does not have it at this request.
    pub fn is_unknown_plan(&self) -> bool {
        matches!(
            self,
            Self::UnknownPlan { .. } | Self::Job(JobError::Gather(GatherError::Request { .. }))
        )
    }
}

impl From<EngineError> for WorkerError {
    fn from(error: EngineError) -> Self {
        Self::Job(error.into())
    }
}

/// Handle of the compute thread. Dropping it ends the thread after the current command.
pub struct Worker {
    commands: mpsc::Sender<Command>,
    bundle: Arc<Bundle>,
    watchdog: Arc<Watchdog>,
}

/// Idle time after which the device releases memory, which the next request allocates again.
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
        job: Job,
        reply: Reply<JobOutput>,
    },
    Generate {
        job: Box<GenerationJob>,
        reply: Reply<GenerationStats>,
    },
    FullModel {
        input: OwnedInput,
        reply: Reply<(ModelOutput, Duration)>,
    },
    Head {
        cls: Vec<f32>,
        patches: Vec<f32>,
        reply: Reply<ModelOutput>,
    },
    HeadScores {
        patches: Vec<f32>,
        halos: [bool; 2],
        reply: Reply<Vec<f32>>,
    },
    FinishHead {
        scores: Vec<f32>,
        reply: Reply<ModelOutput>,
    },
    Remove {
        plan: u64,
    },
    CloseFullModel,
}

impl Worker {
    /// Opens the bundle's graphs and starts the thread.
    ///
    /// # Errors
    /// A graph is refused, or the system has no thread.
    pub fn start(runtime: Runtime, bundle: Arc<Bundle>) -> Result<Self, WorkerError> {
        let (commands, queue) = mpsc::channel();
        let watchdog = Arc::new(Watchdog::new());
        let mut state = WorkerState::open(runtime, Arc::clone(&bundle), Arc::clone(&watchdog))?;
        let thread_watchdog = Arc::clone(&watchdog);
        std::thread::Builder::new()
            .name(COMPUTE_THREAD.to_owned())
            .spawn(move || {
                while let Some(command) = next(&queue, || state.release_memory()) {
                    thread_watchdog.beat();
                    state.handle(command);
                    thread_watchdog.idle();
                }
            })
            .map_err(WorkerError::Start)?;
        Ok(Self {
            commands,
            bundle,
            watchdog,
        })
    }

    /// Whether the thread is idle, or its current step (a block, a chunk of a prompt, a generated token) has taken at most `limit` so far.
    /// Waiting for other members until the deadline counts as progress.
    pub fn makes_progress(&self, limit: Duration) -> bool {
        self.watchdog.makes_progress(limit)
    }

    /// The bundle in use.
    pub fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// Allocates the data path of member `me` in a plan and returns the receiver of its frames.
    ///
    /// # Errors
    /// The rung is not in the bundle, or memory is exhausted.
    pub async fn install(
        &self,
        plan: Arc<Plan>,
        me: usize,
        sink: Box<dyn FrameSink>,
    ) -> Result<Arc<Gather>, WorkerError> {
        self.request(|reply| Command::Install {
            plan,
            me,
            sink,
            reply,
        })
        .await
    }

    /// Runs this device's part of a request in a plan that was installed.
    ///
    /// # Errors
    /// The plan is not installed, the request was cancelled, or a step failed.
    pub async fn run(&self, plan: u64, job: Job) -> Result<JobOutput, WorkerError> {
        self.request(|reply| Command::Run { plan, job, reply })
            .await
    }

    /// Generates a continuation of a prompt.
    ///
    /// # Errors
    /// The model does not generate, the plan is not installed or no token is cached, the prompt's request was cancelled, or a step failed.
    pub async fn generate(&self, job: GenerationJob) -> Result<GenerationStats, WorkerError> {
        let (mut on_token, watchdog) = (job.on_token, Arc::clone(&self.watchdog));
        let job = Box::new(GenerationJob {
            on_token: Box::new(move |token| {
                watchdog.beat();
                on_token(token)
            }),
            ..job
        });
        self.request(|reply| Command::Generate { job, reply }).await
    }

    /// Runs the full model on this device, and returns its output and the time it took. Features of a text are the output's patches.
    ///
    /// # Errors
    /// The input is of another modality or length, or ONNX Runtime fails.
    pub async fn run_full_model(
        &self,
        input: OwnedInput,
    ) -> Result<(ModelOutput, Duration), WorkerError> {
        self.request(|reply| Command::FullModel { input, reply })
            .await
    }

    /// Runs the head on the class token, `[D]`, and patch features, [T, D].
    ///
    /// # Errors
    /// Lengths differ from these, or ONNX Runtime fails.
    pub async fn run_head(
        &self,
        cls: Vec<f32>,
        patches: Vec<f32>,
    ) -> Result<ModelOutput, WorkerError> {
        self.request(|reply| Command::Head {
            cls,
            patches,
            reply,
        })
        .await
    }

    /// Closes the graph of the full model; the next command that needs it opens it again.
    pub fn close_full_model(&self) {
        // A thread that has ended has closed it.
        let _ = self.commands.send(Command::CloseFullModel);
    }

    /// Scores of rows of patches of a distributed head: see [`DistributedHead::scores`](astra_model::engine::DistributedHead::scores).
    ///
    /// # Errors
    /// The head is not distributed, there are no rows, or ONNX Runtime fails.
    pub async fn head_scores(
        &self,
        patches: Vec<f32>,
        halos: [bool; 2],
    ) -> Result<Vec<f32>, WorkerError> {
        self.request(|reply| Command::HeadScores {
            patches,
            halos,
            reply,
        })
        .await
    }

    /// Output of a distributed head for the scores of all rows: see [`DistributedHead::finish`](astra_model::engine::DistributedHead::finish).
    ///
    /// # Errors
    /// As for [`head_scores`](Self::head_scores).
    pub async fn finish_head(&self, scores: Vec<f32>) -> Result<ModelOutput, WorkerError> {
        self.request(|reply| Command::FinishHead { scores, reply })
            .await
    }

    /// Frees a plan's buffers.
    pub fn remove(&self, plan: u64) {
        // A thread that has ended has freed them.
        let _ = self.commands.send(Command::Remove { plan });
    }

    async fn request<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, WorkerError> {
        let (reply, result) = oneshot::channel();
        self.commands
            .send(command(reply))
            .map_err(|_| WorkerError::Ended)?;
        result.await.map_err(|_| WorkerError::Ended)?
    }
}

/// The next command; `None` once the worker is dropped. Runs `on_idle` once if none arrives within [`IDLE`].
fn next(queue: &Receiver<Command>, on_idle: impl FnOnce()) -> Option<Command> {
    match queue.recv_timeout(IDLE) {
        Err(RecvTimeoutError::Timeout) => {
            on_idle();
            queue.recv().ok()
        }
        command => command.ok(),
    }
}
