//! What the computing thread owns, and what it does with it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use astra_bundle::{Bundle, Task};

use super::paths::{self, Paths};
use super::pulse::Pulse;
use super::{Command, WorkerError};
use crate::gather::Gather;
use crate::generate::{Ended, Generation, Prefill, Writer};
use crate::job::{DataPath, FrameSink, JobError, JobStats, Order, Outcome};
use crate::plan::Plan;
use astra_model::engine::{
    Answer, Codec, Decoder, Encoder, EngineError, Form, Head, LanguageHead, Model, OwnedInput,
    Runtime, SharedHead, Whole,
};

/// What the thread owns.
pub(super) struct Bench {
    runtime: Runtime,
    bundle: Arc<Bundle>,
    model: Model,
    ends: Ends,
    paths: Paths<DataPath>,
    codecs: Vec<Weak<Codec>>,
    pulse: Arc<Pulse>,
}

/// What the task needs besides the blocks. The fused graphs are opened when first asked for: most requests go to the
/// cluster, and they hold the weights a second time.
enum Ends {
    Image {
        head: ImageHead,
        whole: Option<Whole>,
    },
    Generation {
        head: LanguageHead,
        decoder: Option<Box<Decoder>>,
    },
    Features {
        encoder: Option<Encoder>,
    },
}

/// The head in one piece, or the one that members share.
enum ImageHead {
    Alone(Head),
    Shared(SharedHead),
}

impl Bench {
    pub(super) fn open(
        runtime: Runtime,
        bundle: Arc<Bundle>,
        pulse: Arc<Pulse>,
    ) -> Result<Self, WorkerError> {
        let manifest = bundle.manifest();
        let (dir, shape) = (bundle.dir(), &manifest.shape);
        let form = Form::of(manifest);
        let ends = match (form, &manifest.task) {
            (Form::Image { .. }, _) => Ends::Image {
                head: match SharedHead::open(&runtime, dir, manifest)? {
                    Some(shared) => ImageHead::Shared(shared),
                    None => ImageHead::Alone(Head::open(&runtime, dir, manifest)?),
                },
                whole: None,
            },
            (Form::Text { .. }, Task::Generation) => Ends::Generation {
                head: LanguageHead::open(&runtime, dir, shape.hidden)?,
                decoder: None,
            },
            (Form::Text { .. }, _) => Ends::Features { encoder: None },
        };
        let mut model = Model::open(&runtime, dir, shape, form)?;
        model.tell(pulse.beats());
        Ok(Self {
            model,
            ends,
            paths: Paths::new(),
            codecs: Vec::new(),
            runtime,
            bundle,
            pulse,
        })
    }

    /// Whoever asked may have stopped waiting; the outcome is then nobody's.
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Install {
                plan,
                me,
                sink,
                reply,
            } => drop(reply.send(self.install(plan, me, sink))),
            Command::Run { plan, order, reply } => drop(reply.send(self.run(plan, &order))),
            Command::Generate { generation, reply } => {
                drop(reply.send(self.generate(*generation)));
            }
            Command::Whole { input, reply } => drop(reply.send(self.whole(&input))),
            Command::Head {
                cls,
                patches,
                reply,
            } => drop(reply.send(self.head(cls, patches))),
            Command::CloseWhole => self.close_whole(),
            Command::Scores {
                patches,
                halos,
                reply,
            } => {
                let scores = self.shared().and_then(|h| Ok(h.scores(&patches, halos)?));
                drop(reply.send(scores));
            }
            Command::Finish { scores, reply } => {
                drop(reply.send(self.shared().and_then(|h| Ok(h.finish(&scores)?))));
            }
            Command::Remove { plan } => self.paths.remove(plan),
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
        let bytes = paths::bytes(&plan, me, self.model.shape().blocks, layout);
        self.paths.make_room(id, bytes);
        let path = DataPath::new(&self.model, codec, plan, me, sink)?;
        let gather = Arc::clone(path.gather());
        self.paths.keep(id, bytes, path);
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
        let path = self.paths.find(plan);
        let path = path.ok_or(WorkerError::UnknownPlan { plan })?;
        self.pulse.may_wait(order.deadline);
        Ok(path.run(&mut self.model, order)?)
    }

    /// The whole model on this device, for all tasks but generation.
    fn whole(&mut self, input: &OwnedInput) -> Result<(Answer, Duration), WorkerError> {
        let (dir, manifest) = (self.bundle.dir(), self.bundle.manifest());
        match (&mut self.ends, input) {
            (Ends::Image { whole, .. }, OwnedInput::Pixels(pixels)) => {
                let whole = opened(whole, || Whole::open(&self.runtime, dir, manifest))?;
                let start = Instant::now();
                let answer = whole.run(pixels)?;
                Ok((answer, start.elapsed()))
            }
            (Ends::Features { encoder }, OwnedInput::Ids(ids)) => {
                let encoder = opened(encoder, || Encoder::open(&self.runtime, dir))?;
                let start = Instant::now();
                let answer = Answer {
                    patches: encoder.run(ids)?,
                    ..Answer::default()
                };
                Ok((answer, start.elapsed()))
            }
            _ => Err(WorkerError::OtherTask),
        }
    }

    fn close_whole(&mut self) {
        match &mut self.ends {
            Ends::Image { whole, .. } => *whole = None,
            Ends::Generation { decoder, .. } => *decoder = None,
            Ends::Features { encoder } => *encoder = None,
        }
        self.runtime.give_back();
    }

    /// Lets go of plans, with their rungs' tables, and of memory that was computed in: nobody asks for anything now. Whoever comes back
    /// to a plan sets it up anew.
    pub(super) fn rest(&mut self) {
        self.paths.clear();
        self.runtime.give_back();
    }

    fn head(&mut self, cls: Vec<f32>, patches: Vec<f32>) -> Result<Answer, WorkerError> {
        match &mut self.ends {
            Ends::Image {
                head: ImageHead::Alone(head),
                ..
            } => Ok(head.run(cls, patches)?),
            _ => Err(WorkerError::OtherTask),
        }
    }

    fn shared(&mut self) -> Result<&mut SharedHead, WorkerError> {
        match &mut self.ends {
            Ends::Image {
                head: ImageHead::Shared(shared),
                ..
            } => Ok(shared),
            _ => Err(WorkerError::OtherTask),
        }
    }

    /// The prompt, then token by token.
    fn generate(&mut self, generation: Generation) -> Result<Ended, WorkerError> {
        let (dir, manifest) = (self.bundle.dir(), self.bundle.manifest());
        let (Ends::Generation { head, decoder }, Some(text)) = (&mut self.ends, &manifest.text)
        else {
            return Err(WorkerError::OtherTask);
        };
        let decoder = opened(decoder, || {
            let mut decoder = Decoder::open(&self.runtime, dir, manifest)?;
            decoder.tell(self.pulse.beats());
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
        let mut made = Made::default();
        let first = match prefill {
            Prefill::Alone => made.here(decoder, &mut writer, 0),
            Prefill::Cached { rung } => {
                if decoder.reusable(writer.prompt(), rung) == 0 {
                    return Err(WorkerError::NotCached);
                }
                made.here(decoder, &mut writer, rung)
            }
            Prefill::Plan { plan, order } => {
                let path = self.paths.find(plan);
                let path = path.ok_or(WorkerError::UnknownPlan { plan })?;
                self.pulse.may_wait(order.deadline);
                made.in_plan(&mut self.model, path, &order, (decoder, head), &mut writer)
            }
        }?;
        let prefilled = start.elapsed();
        let finish = writer.write(decoder, first)?;
        Ok(Ended {
            finish,
            tokens: writer.tokens(),
            reused: made.reused,
            recomputed: made.recomputed,
            prefill: prefilled,
            decode: start.elapsed() - prefilled,
            stats: made.stats,
        })
    }
}

/// What became of a prompt.
#[derive(Default)]
struct Made {
    reused: usize,
    recomputed: bool,
    stats: JobStats,
}

/// The first token, or why there is none.
type First = Result<u32, crate::generate::Finish>;

impl Made {
    /// The prompt on this device, behind what is in the cache.
    fn here(
        &mut self,
        decoder: &mut Decoder,
        writer: &mut Writer,
        rung: u16,
    ) -> Result<First, WorkerError> {
        let start = Instant::now();
        self.reused = decoder.reusable(writer.prompt(), rung);
        let scores = decoder.prefill(writer.prompt(), self.reused)?;
        let took = start.elapsed();
        self.stats.compute += took;
        self.stats.total += took;
        Ok(writer.next(scores))
    }

    /// The prompt in a plan; all of it here where tokens of other members are missing.
    fn in_plan(
        &mut self,
        model: &mut Model,
        path: &mut DataPath,
        order: &Order,
        (decoder, head): (&mut Decoder, &mut LanguageHead),
        writer: &mut Writer,
    ) -> Result<First, WorkerError> {
        decoder.clear(writer.prompt().len())?;
        let rung = path.plan().rung;
        let outcome = path.run_into(model, order, decoder)?;
        self.stats = outcome.stats;
        if self.stats.masked_tokens > 0 {
            self.recomputed = true;
            return self.here(decoder, writer, 0);
        }
        decoder.filled(writer.prompt(), rung);
        let start = Instant::now();
        let hidden = model.shape().hidden;
        let last = outcome.features.len().saturating_sub(hidden);
        let mut scores = head.run(outcome.features.get(last..).unwrap_or_default())?;
        let took = start.elapsed();
        self.stats.compute += took;
        self.stats.total += took;
        Ok(writer.next(&mut scores))
    }
}

/// Opens what was not asked for before.
fn opened<T>(
    place: &mut Option<T>,
    open: impl FnOnce() -> Result<T, EngineError>,
) -> Result<&mut T, EngineError> {
    match place {
        Some(there) => Ok(there),
        None => Ok(place.insert(open()?)),
    }
}
