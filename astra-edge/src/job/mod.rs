//! The data path: one member's part of one request, step by step.

mod batch_sender;
mod overlap_policy;
mod stats;
mod timer;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{CodeHeader, EmitError, Flags, Framer, SideInfo};

use crate::gather::{Gather, GatherError};
use crate::plan::Plan;
use astra_model::engine::{
    Codec, Decoder, EngineError, Member, Model, OwnedInput, TokenEncoder, slice,
};
use batch_sender::BatchSender;
pub use batch_sender::{FrameSink, SinkError};
use overlap_policy::OverlapPolicy;
pub use stats::JobStats;
pub(crate) use stats::microseconds;
use timer::JobTimer;
pub use timer::MAX_DEADLINE;

/// A member's part of a request ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// A step that computes failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The request was cancelled, or a buffer has the wrong length.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// Codes do not fit their layout.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// Result of a member's part of a request.
#[derive(Clone, Debug)]
pub struct JobOutput {
    /// Its class tokens after the final norm: [c * D].
    pub cls: Vec<f32>,
    /// Its own tokens after the final norm: [t, D].
    pub features: Vec<f32>,
    /// Time and bytes.
    pub stats: JobStats,
}

/// One member's part of a request.
#[derive(Clone, Debug)]
pub struct Job {
    /// Number of the request within its plan, from 0.
    pub request: u32,
    /// Time until the coordinator expects the result; no more than [`MAX_DEADLINE`] counts.
    pub deadline: Duration,
    /// Input of the class tokens and the own tokens.
    pub input: OwnedInput,
}

/// Everything the data path of a member uses, allocated when a plan is set up.
pub struct DataPath {
    plan: Arc<Plan>,
    me: usize,
    codec: Arc<Codec>,
    member: Member,
    encoder: TokenEncoder,
    gather: Arc<Gather>,
    sender: BatchSender,
    overlap: OverlapPolicy,
}

impl DataPath {
    /// Allocates buffers for member `me` of `plan`. The calling thread must also run the jobs, because the gather unparks it.
    ///
    /// # Errors
    /// ONNX Runtime has no memory, or the codec does not fit the model or the wire format.
    pub fn new(
        model: &Model,
        codec: Arc<Codec>,
        plan: Arc<Plan>,
        me: usize,
        sink: Box<dyn FrameSink>,
    ) -> Result<Self, JobError> {
        let range = plan.ranges.get(me).copied();
        let range = range.ok_or_else(|| no_member(&plan, me))?;
        let remote = plan.remote_tokens(me);
        let last = me + 1 == plan.ranges.len();
        let member = if plan.causal && last {
            Member::with_attended_kv(model, &codec, range, remote)?
        } else {
            Member::new(model, &codec, range, remote)?
        };
        let gather = Gather::new(
            Arc::clone(&plan),
            me,
            codec.layouts().collect(),
            codec.predicts(),
            std::thread::current(),
        );
        Ok(Self {
            me,
            encoder: TokenEncoder::for_codec(&codec, range.tokens.into())?,
            member,
            gather: Arc::new(gather),
            sender: BatchSender::new(sink),
            overlap: OverlapPolicy::default(),
            codec,
            plan,
        })
    }

    /// Receives the frames of other members.
    pub fn gather(&self) -> &Arc<Gather> {
        &self.gather
    }

    /// The plan it was allocated for.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Runs one request to its end, or until it is cancelled.
    ///
    /// Does not wait beyond the deadline: tokens that have not arrived are left out of attention and counted.
    ///
    /// # Errors
    /// A step failed or the request was cancelled; the data path can then run the next request.
    pub fn run(&mut self, model: &mut Model, job: &Job) -> Result<JobOutput, JobError> {
        self.run_one(model, job, None)
    }

    /// The same for the last member of a causal plan, which also writes the keys and values of all tokens to a KV cache.
    ///
    /// A KV cache needs every token: if some are missing, the request stops, and the output counts them as masked and has no features.
    ///
    /// # Errors
    /// As for [`run`](Self::run), or the cache lacks capacity.
    pub fn run_filling_cache(
        &mut self,
        model: &mut Model,
        job: &Job,
        cache: &mut Decoder,
    ) -> Result<JobOutput, JobError> {
        self.run_one(model, job, Some(cache))
    }

    fn run_one(
        &mut self,
        model: &mut Model,
        job: &Job,
        cache: Option<&mut Decoder>,
    ) -> Result<JobOutput, JobError> {
        self.gather.begin(job.request)?;
        let output = self.run_blocks(model, job, cache);
        self.gather.end(job.request);
        if output.is_err() {
            // These counts must not be added to the next request.
            self.gather.take_stats();
        }
        output
    }

    fn run_blocks(
        &mut self,
        model: &mut Model,
        job: &Job,
        mut cache: Option<&mut Decoder>,
    ) -> Result<JobOutput, JobError> {
        let mut timer = JobTimer::start(job.deadline, model.shape().blocks);
        let mut stats = JobStats::default();
        self.member.set_chunked(self.overlap.overlaps());

        timer.time(&mut stats.compute, || {
            self.member.embed(model, job.input.borrow())
        })?;
        let tokens = 0..self.member.tokens();
        self.encode_and_send((job.request, 0), tokens, &mut stats)?;
        for block in 0..model.shape().blocks {
            model.beat();
            self.reconstruct_own(block, &mut stats)?;
            timer.time(&mut stats.compute, || self.member.local(model, block))?;
            if self.receivers() > 0 {
                timer.time(&mut stats.compute, || self.member.predict_own(model, block))?;
            }
            timer.time(&mut stats.compute, || {
                self.member.predict_remote(model, block)
            })?;
            let arrived = self.gather_block(job.request, block, &mut timer, &mut stats)?;
            if cache.is_some() && stats.masked_tokens > 0 {
                return self.output(stats, &timer, false);
            }
            timer.time(&mut stats.compute, || {
                self.member.attend(model, &self.codec, block, arrived)
            })?;
            if let Some(cache) = &mut cache {
                let (keys, values) = self.member.attended_kv()?;
                timer.time(&mut stats.compute, || cache.fill(block, keys, values))?;
            }
            for chunk in 0..self.member.chunks() {
                let mlp = || self.member.mlp(model, block, chunk);
                let tokens = timer.time(&mut stats.compute, mlp)?;
                if block + 1 < model.shape().blocks {
                    self.encode_and_send((job.request, block + 1), tokens, &mut stats)?;
                }
            }
        }
        self.overlap.record(stats.wait, timer.start.elapsed());
        self.output(stats, &timer, true)
    }

    fn output(
        &self,
        mut stats: JobStats,
        timer: &JobTimer,
        complete: bool,
    ) -> Result<JobOutput, JobError> {
        stats.received = self.gather.take_stats();
        (stats.total, stats.overhead) = (timer.start.elapsed(), timer.overhead());
        let (cls, features) = if complete {
            (self.member.n_class()?, self.member.n_patches()?)
        } else {
            Default::default()
        };
        Ok(JobOutput {
            cls: cls.to_vec(),
            features: features.to_vec(),
            stats,
        })
    }

    /// Members that attend to the own tokens, and are sent each frame.
    pub fn receivers(&self) -> usize {
        self.plan.receivers(self.me)
    }

    /// Encodes some own tokens and sends them to the members that attend to them.
    fn encode_and_send(
        &mut self,
        (request, block): (u32, usize),
        tokens: Range<usize>,
        stats: &mut JobStats,
    ) -> Result<(), JobError> {
        let range = self.plan.ranges.get(self.me);
        let range = range.ok_or_else(|| no_member(&self.plan, self.me))?;
        if self.receivers() == 0 || tokens.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let layout = self.codec.layout(block)?;
        let header = CodeHeader {
            version: self.plan.version,
            request,
            epoch: self.plan.epoch,
            // The manifest is refused with more than 255 blocks, the plan with more than 16 members.
            block: block as u8,
            sender: self.me as u8,
            // Tokens are numbered in 16 bits.
            first_token: range.first + tokens.start as u16,
            tokens: tokens.len() as u16,
            part: 0,
            rung: layout.rung(),
            flags: if self.codec.predicts() && block > 0 {
                Flags::PREDICTED
            } else {
                Flags::NONE
            },
        };
        match self.codec.stages(block)? {
            Some(stages) => {
                let encoder = (&stages, &mut self.encoder);
                let encoded = self.member.encode(&self.codec, block, tokens, encoder)?;
                let side = SideInfo {
                    means: encoded.means,
                    positions: encoded.positions,
                    codes: encoded.refined,
                };
                let framer = Framer::new(header, layout, encoded.codes, side)?;
                self.sender.send(framer, stats)?;
            }
            None => {
                let width = layout.codes_per_token().into();
                let values = rows(self.member.n_patches()?, &tokens, width)?;
                let framer = Framer::new(header, layout, values, SideInfo::NONE)?;
                self.sender.send(framer, stats)?;
            }
        }
        stats.encode += start.elapsed();
        Ok(())
    }

    /// Reconstructs the state that receivers have of the own tokens, for the prediction of the next block.
    fn reconstruct_own(&mut self, block: usize, stats: &mut JobStats) -> Result<(), JobError> {
        if self.receivers() == 0 {
            return Ok(());
        }
        let start = Instant::now();
        if let Some(stages) = self.codec.stages(block)? {
            let encoder = &self.encoder;
            self.member.reconstruct_own(block, &stages, encoder)?;
        }
        stats.encode += start.elapsed();
        Ok(())
    }

    /// Waits for the codes of a block and decodes them. Returns the number of valid rows of `remote`.
    fn gather_block(
        &mut self,
        request: u32,
        block: usize,
        timer: &mut JobTimer,
        stats: &mut JobStats,
    ) -> Result<usize, JobError> {
        timer.set_deadline(block);
        let stages = self.codec.stages(block)?;
        let (remote, tokens) = self.member.remote_rows_mut(block)?;
        let wait = &mut timer.wait;
        let gathered = (self.gather).collect(request, block, stages, remote, tokens, wait)?;
        stats.wait += gathered.waited;
        stats.decode += gathered.decoded;
        stats.masked_tokens += gathered.missing as u64;
        Ok(self.member.reconstruct_remote(block, gathered.arrived)?)
    }
}

/// The plan has no member of that number.
fn no_member(plan: &Plan, me: usize) -> EngineError {
    EngineError::Length {
        what: "members of the plan",
        found: plan.ranges.len(),
        expected: me + 1,
    }
}

/// A range of rows of a matrix whose rows are `width` long.
fn rows<'a>(
    matrix: &'a [f32],
    rows: &Range<usize>,
    width: usize,
) -> Result<&'a [f32], EngineError> {
    slice("rows", matrix, rows.start * width..rows.end * width)
}
