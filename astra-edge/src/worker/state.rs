//! State of the compute thread, and the handlers of its commands.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use astra_bundle::{Bundle, Task};

use super::plan_cache::{PlanCache, received_bytes};
use super::watchdog::Watchdog;
use super::{Command, WorkerError};
use crate::gather::Gather;
use crate::generate::{Ended, Generation, Prefill, Writer};
use crate::job::{DataPath, FrameSink, Job, JobError, JobOutput, JobStats};
use crate::plan::Plan;
use astra_model::engine::{
    Codec, Decoder, DistributedHead, Encoder, EngineError, FullModel, Head, LanguageHead, Modality,
    Model, ModelOutput, OwnedInput, Runtime, slice,
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
            Command::Generate { generation, reply } => {
                drop(reply.send(self.generate(*generation)));
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
        let (id, layout) = (plan.id, codec.layout().map_err(JobError::from)?);
        let bytes = received_bytes(&plan, me, self.model.shape().blocks, layout);
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
        self.watchdog.allow_waiting(job.deadline);
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
    fn generate(&mut self, generation: Generation) -> Result<Ended, WorkerError> {
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
        let Generation {
            prompt,
            prefill,
            max_tokens,
            choose,
            take,
            stop,
        } = generation;
        let how = (choose, take, stop);
        let mut writer = Writer::new(prompt, max_tokens, text.max_tokens, &text.eos, how);
        let start = Instant::now();
        let mut result = PrefillResult::default();
        let first = match prefill {
            Prefill::Alone => result.run_local(decoder, &mut writer, 0),
            Prefill::Cached { rung } => {
                if decoder.reusable_tokens(writer.prompt(), rung) == 0 {
                    return Err(WorkerError::NotCached);
                }
                result.run_local(decoder, &mut writer, rung)
            }
            Prefill::Plan { plan, order: job } => {
                let path = self.plans.get(plan);
                let path = path.ok_or(WorkerError::UnknownPlan { plan })?;
                self.watchdog.allow_waiting(job.deadline);
                let graphs = (&mut **decoder, head);
                result.run_distributed(&mut self.model, path, &job, graphs, &mut writer)
            }
        }?;
        let prefilled = start.elapsed();
        let finish = writer.write(decoder, first)?;
        Ok(Ended {
            finish,
            tokens: writer.tokens(),
            reused: result.reused,
            recomputed: result.recomputed,
            prefill: prefilled,
            decode: start.elapsed() - prefilled,
            stats: result.stats,
        })
    }
}

/// Result of a prefill.
#[derive(Default)]
struct PrefillResult {
    reused: usize,
    recomputed: bool,
    stats: JobStats,
}

/// The first token, or why there is none.
type First = Result<u32, crate::generate::Finish>;

impl PrefillResult {
    /// Computes the prompt on this device, after the tokens that are in the cache.
    fn run_local(
        &mut self,
        decoder: &mut Decoder,
        writer: &mut Writer,
        rung: u16,
    ) -> Result<First, WorkerError> {
        let start = Instant::now();
        self.reused = decoder.reusable_tokens(writer.prompt(), rung);
        let logits = decoder.prefill(writer.prompt(), self.reused)?;
        let took = start.elapsed();
        self.stats.compute += took;
        self.stats.total += took;
        Ok(writer.next(logits))
    }

    /// Computes the prompt in a plan, or all of it on this device if tokens of other members are missing.
    fn run_distributed(
        &mut self,
        model: &mut Model,
        path: &mut DataPath,
        job: &Job,
        (decoder, head): (&mut Decoder, &mut LanguageHead),
        writer: &mut Writer,
    ) -> Result<First, WorkerError> {
        decoder.clear(writer.prompt().len())?;
        let rung = path.plan().rung;
        let output = path.run_filling_cache(model, job, decoder)?;
        self.stats = output.stats;
        if self.stats.masked_tokens > 0 {
            self.recomputed = true;
            return self.run_local(decoder, writer, 0);
        }
        decoder.set_tokens(writer.prompt(), rung);
        let start = Instant::now();
        let hidden = model.shape().hidden;
        let features = output.features.len();
        let last = features.saturating_sub(hidden)..features;
        let last = slice("features of the last token", &output.features, last)?;
        let mut logits = head.run(last)?;
        let took = start.elapsed();
        self.stats.compute += took;
        self.stats.total += took;
        Ok(writer.next(&mut logits))
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
