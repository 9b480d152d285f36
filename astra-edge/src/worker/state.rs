//! State of the compute thread, and the handlers of its commands.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use astra_bundle::{Bundle, Task};

use super::plan_cache::PlanCache;
use super::prefill::PrefillResult;
use super::watchdog::Watchdog;
use super::{Command, WorkerError};
use crate::gather::{Gather, received_bytes};
use crate::generation::{GenerationJob, GenerationStats, Prefill, TokenLoop};
use crate::job::{DataPath, FrameSink, Job, JobOutput, MAX_DEADLINE, microseconds};
use crate::plan::Plan;
use astra_model::engine::{
    Codec, Decoder, DistributedHead, Encoder, EngineError, FullModel, Head, LanguageHead, Modality,
    Model, ModelOutput, OwnedInput, Runtime,
};

/// State of the compute thread.
pub(super) struct WorkerState {
    runtime: Runtime,
    bundle: Arc<Bundle>,
    model: Model,
    task: TaskGraphs,
    plans: PlanCache<DataPath>,
    codecs: Vec<Weak<Codec>>,
    watchdog: Arc<Watchdog>,
}

/// Graphs of the task besides the blocks. Fused graphs are opened when first needed: they hold the weights a second time, and most
/// requests are distributed.
enum TaskGraphs {
    Image {
        head: ImageHead,
        full_model: Option<FullModel>,
    },
    Generation {
        head: LanguageHead,
        decoder: Option<Box<Decoder>>,
    },
    Features {
        encoder: Option<Encoder>,
    },
}

/// A head that the coordinator computes, or one that members compute together.
enum ImageHead {
    Local(Head),
    Distributed(DistributedHead),
}

impl WorkerState {
    pub(super) fn open(
        runtime: Runtime,
        bundle: Arc<Bundle>,
        watchdog: Arc<Watchdog>,
    ) -> Result<Self, WorkerError> {
        let manifest = bundle.manifest();
        let (dir, shape) = (bundle.dir(), &manifest.shape);
        let modality = Modality::of(manifest);
        let task = match (modality, &manifest.task) {
            (Modality::Image { .. }, _) => TaskGraphs::Image {
                head: match DistributedHead::open(&runtime, dir, manifest)? {
                    Some(head) => ImageHead::Distributed(head),
                    None => ImageHead::Local(Head::open(&runtime, dir, manifest)?),
                },
                full_model: None,
            },
            (Modality::Text { .. }, Task::Generation) => TaskGraphs::Generation {
                head: LanguageHead::open(&runtime, dir, shape.hidden)?,
                decoder: None,
            },
            (Modality::Text { .. }, _) => TaskGraphs::Features { encoder: None },
        };
        let mut model = Model::open(&runtime, dir, shape, modality)?;
        model.set_heartbeat(watchdog.heartbeat());
        Ok(Self {
            model,
            task,
            plans: PlanCache::new(),
            codecs: Vec::new(),
            runtime,
            bundle,
            watchdog,
        })
    }

    /// Runs a command. The result is dropped if its requester no longer waits for it.
    pub(super) fn handle(&mut self, command: Command) {
        match command {
            Command::Install {
                plan,
                me,
                sink,
                reply,
            } => drop(reply.send(self.install(plan, me, sink))),
            Command::Run { plan, job, reply } => drop(reply.send(self.run(plan, &job))),
            Command::Generate { job, reply } => {
                drop(reply.send(self.generate(*job)));
            }
            Command::FullModel { input, reply } => drop(reply.send(self.full_model(&input))),
            Command::Head {
                cls,
                patches,
                reply,
            } => drop(reply.send(self.head(cls, patches))),
            Command::CloseFullModel => self.close_full_model(),
            Command::HeadScores {
                patches,
                halos,
                reply,
            } => {
                let head = self.distributed_head();
                drop(reply.send(head.and_then(|head| Ok(head.scores(&patches, halos)?))));
            }
            Command::FinishHead { scores, reply } => {
                let head = self.distributed_head();
                drop(reply.send(head.and_then(|head| Ok(head.finish(&scores)?))));
            }
            Command::Remove { plan } => self.plans.remove(plan),
        }
    }

    fn install(
        &mut self,
        plan: Arc<Plan>,
        me: usize,
        sink: Box<dyn FrameSink>,
    ) -> Result<Arc<Gather>, WorkerError> {
        let codec = self.codec(plan.rung)?;
        let (id, layouts) = (plan.id, codec.layouts().collect::<Vec<_>>());
        let bytes = received_bytes(&plan, me, &layouts);
        self.plans.make_room(id, bytes);
        let path = DataPath::new(&self.model, codec, plan, me, sink)?;
        let gather = Arc::clone(path.gather());
        self.plans.insert(id, bytes, path);
        Ok(gather)
    }

    /// The codec of a rung, which its plans share.
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

    fn run(&mut self, plan: u64, job: &Job) -> Result<JobOutput, WorkerError> {
        let path = self.plans.get(plan);
        let path = path.ok_or(WorkerError::UnknownPlan { plan })?;
        self.watchdog.allow_waiting(job.deadline.min(MAX_DEADLINE));
        Ok(path.run(&mut self.model, job)?)
    }

    /// The full model on this device, for all tasks but generation.
    fn full_model(&mut self, input: &OwnedInput) -> Result<(ModelOutput, Duration), WorkerError> {
        let (dir, manifest) = (self.bundle.dir(), self.bundle.manifest());
        match (&mut self.task, input) {
            (TaskGraphs::Image { full_model, .. }, OwnedInput::Pixels(pixels)) => {
                let full_model =
                    get_or_open(full_model, || FullModel::open(&self.runtime, dir, manifest))?;
                let start = Instant::now();
                let output = full_model.run(pixels)?;
                Ok((output, start.elapsed()))
            }
            (TaskGraphs::Features { encoder }, OwnedInput::Ids(ids)) => {
                let encoder = get_or_open(encoder, || Encoder::open(&self.runtime, dir))?;
                let start = Instant::now();
                let output = ModelOutput {
                    patches: encoder.run(ids)?,
                    ..ModelOutput::default()
                };
                Ok((output, start.elapsed()))
            }
            _ => Err(WorkerError::OtherTask),
        }
    }

    fn close_full_model(&mut self) {
        match &mut self.task {
            TaskGraphs::Image { full_model, .. } => *full_model = None,
            TaskGraphs::Generation { decoder, .. } => *decoder = None,
            TaskGraphs::Features { encoder } => *encoder = None,
        }
        self.runtime.release_memory();
    }

    /// Releases the memory of plans, of their rungs' tables and of the arena while the device is idle. A coordinator that uses a plan
    /// afterwards sets it up again.
    pub(super) fn release_memory(&mut self) {
        self.plans.clear();
        self.runtime.release_memory();
    }

    fn head(&mut self, cls: Vec<f32>, patches: Vec<f32>) -> Result<ModelOutput, WorkerError> {
        match &mut self.task {
            TaskGraphs::Image {
                head: ImageHead::Local(head),
                ..
            } => Ok(head.run(cls, patches)?),
            _ => Err(WorkerError::OtherTask),
        }
    }

    fn distributed_head(&mut self) -> Result<&mut DistributedHead, WorkerError> {
        match &mut self.task {
            TaskGraphs::Image {
                head: ImageHead::Distributed(head),
                ..
            } => Ok(head),
            _ => Err(WorkerError::OtherTask),
        }
    }

    /// Prefill, then decode token by token.
    fn generate(&mut self, job: GenerationJob) -> Result<GenerationStats, WorkerError> {
        let (dir, manifest) = (self.bundle.dir(), self.bundle.manifest());
        let (TaskGraphs::Generation { head, decoder }, Some(text)) =
            (&mut self.task, &manifest.text)
        else {
            return Err(WorkerError::OtherTask);
        };
        let decoder = get_or_open(decoder, || {
            let mut decoder = Decoder::open(&self.runtime, dir, manifest)?;
            decoder.set_heartbeat(self.watchdog.heartbeat());
            Ok(Box::new(decoder))
        })?;
        let GenerationJob {
            request,
            prefill,
            on_token,
            cancelled,
        } = job;
        let mut generation = TokenLoop::new(request, text, on_token, cancelled);
        let start = Instant::now();
        let mut prompt = PrefillResult::default();
        let first = match prefill {
            Prefill::Local => prompt.run_local(decoder, &mut generation, 0),
            Prefill::Cached { rung } => {
                if decoder.reusable_tokens(generation.prompt(), rung) == 0 {
                    return Err(WorkerError::NotCached);
                }
                prompt.run_local(decoder, &mut generation, rung)
            }
            Prefill::Plan { plan, job } => {
                let path = self.plans.get(plan);
                let path = path.ok_or(WorkerError::UnknownPlan { plan })?;
                self.watchdog.allow_waiting(job.deadline.min(MAX_DEADLINE));
                let graphs = (&mut **decoder, head);
                prompt.run_distributed(&mut self.model, path, &job, graphs, &mut generation)
            }
        }?;
        let prefill = start.elapsed();
        let finish_reason = generation.run(decoder, first)?;
        Ok(GenerationStats {
            prompt: prompt.stats.member_stats(prompt.receivers),
            finish_reason,
            // A text is no longer than 16 bits count.
            tokens: generation.generated() as u32,
            reused_tokens: prompt.reused_tokens as u32,
            recomputed: prompt.recomputed,
            prefill_us: microseconds(prefill),
            decode_us: microseconds(start.elapsed() - prefill),
        })
    }
}

/// The graph in `slot`, opened if it is not yet.
fn get_or_open<T>(
    slot: &mut Option<T>,
    open: impl FnOnce() -> Result<T, EngineError>,
) -> Result<&mut T, EngineError> {
    match slot {
        Some(graph) => Ok(graph),
        None => Ok(slot.insert(open()?)),
    }
}
