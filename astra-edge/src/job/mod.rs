//! One member's part in one request: the way of the data, step by step.

mod clock;
mod out;
mod overlap;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{CodeHeader, EmitError, Flags, Framer, Layout, LayoutError};

use crate::gather::{Gather, GatherError, Received};
use crate::plan::Plan;
use astra_model::engine::{Codec, Decoder, EngineError, Member, Model, OwnedInput, part, part_mut};
use clock::Clock;
use out::Out;
pub use out::{FrameSink, SinkError};
use overlap::Overlap;

/// Why a member's part in a request ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// A step that computes failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The request was cancelled, or what was gathered does not fit.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// The codec's rung has no layout on the wire.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Codes that do not fit their layout.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// Where a member's time and bytes went.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobStats {
    /// From the start of the request on this member to its end.
    pub total: Duration,
    /// In `embed`, `local`, `attend` and `mlp`.
    pub compute: Duration,
    /// Finding codes, packing them and handing frames to the link, which waits where the link is full.
    pub encode: Duration,
    /// Turning codes into rows of `remote`.
    pub decode: Duration,
    /// Waiting for other members with nothing else to do.
    pub wait: Duration,
    /// Processor time of this thread outside of `compute`: the codec, frames, and going to wait.
    pub own: Duration,
    /// Frames handed to the link, each counted once however many members it goes to.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Bytes of packed codes in them: what is left are headers.
    pub code_bytes_sent: u64,
    /// Frames the link did not take.
    pub frames_lost: u64,
    /// Frames and bytes from other members.
    pub received: Received,
    /// Tokens that did not come in time, summed over the blocks: left out of attention, or taken for what was expected of them where
    /// the codec predicts.
    pub masked_tokens: u64,
}

/// What a member answers with.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it computed of the tokens that every member computes, after the final norm: [c * D].
    pub cls: Vec<f32>,
    /// Its own tokens after the final norm: [t, D].
    pub features: Vec<f32>,
    /// Where time and bytes went.
    pub stats: JobStats,
}

/// One request as a member sees it.
#[derive(Clone, Debug)]
pub struct Order {
    /// Number of the request in the life of its plan.
    pub request: u32,
    /// Time from now until the coordinator wants the result.
    pub deadline: Duration,
    /// What the own tokens are made of.
    pub input: OwnedInput,
}

/// A member's place in a plan: everything the data path touches, allocated when the plan is set up.
pub struct DataPath {
    plan: Arc<Plan>,
    me: usize,
    codec: Arc<Codec>,
    layout: Layout,
    member: Member,
    gather: Arc<Gather>,
    out: Out,
    codes: Vec<u16>,
    overlap: Overlap,
}

impl DataPath {
    /// Allocates what member `me` of `plan` needs. The calling thread is the one that has to run the jobs, for the gather wakes
    /// it.
    ///
    /// # Errors
    /// ONNX Runtime has no memory, or the codec fits neither model nor wire.
    pub fn new(
        model: &Model,
        codec: Arc<Codec>,
        plan: Arc<Plan>,
        me: usize,
        sink: Box<dyn FrameSink>,
    ) -> Result<Self, JobError> {
        let layout = codec.layout()?;
        let range = plan.ranges.get(me).copied();
        let range = range.ok_or(EngineError::Length {
            what: "members of the plan",
            found: plan.ranges.len(),
            expected: me + 1,
        })?;
        let remote = plan.remote_tokens(me);
        let last = me + 1 == plan.ranges.len();
        let member = if plan.causal && last {
            Member::that_generates(model, &codec, range, remote)?
        } else {
            Member::new(model, &codec, range, remote)?
        };
        let gather = Gather::new(
            Arc::clone(&plan),
            me,
            model.shape().blocks,
            layout,
            codec.predicts(),
            std::thread::current(),
        );
        Ok(Self {
            me,
            codes: vec![0; usize::from(range.tokens) * codec.codes()],
            layout,
            member,
            gather: Arc::new(gather),
            out: Out::new(sink),
            overlap: Overlap::default(),
            codec,
            plan,
        })
    }

    /// Where the link delivers frames.
    pub fn gather(&self) -> &Arc<Gather> {
        &self.gather
    }

    /// The plan this is a place in.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Runs one request to its end, or until it is cancelled.
    ///
    /// Ends by the deadline as far as waiting goes: what did not come in time is left out of attention and counted.
    ///
    /// # Errors
    /// A step failed or the request was cancelled; the data path is then ready for the next.
    pub fn run(&mut self, model: &mut Model, order: &Order) -> Result<Outcome, JobError> {
        self.one(model, order, None)
    }

    /// The same for the last member of a causal plan, which puts the keys and values of all tokens into a cache to go on from.
    ///
    /// A cache has no gaps: where tokens are missing, this stops, and the outcome counts them as masked and has no features.
    ///
    /// # Errors
    /// As for [`run`](Self::run), or the cache has no room.
    pub fn run_into(
        &mut self,
        model: &mut Model,
        order: &Order,
        cache: &mut Decoder,
    ) -> Result<Outcome, JobError> {
        self.one(model, order, Some(cache))
    }

    fn one(
        &mut self,
        model: &mut Model,
        order: &Order,
        cache: Option<&mut Decoder>,
    ) -> Result<Outcome, JobError> {
        self.gather.begin(order.request);
        let outcome = self.blocks(model, order, cache);
        self.gather.end(order.request);
        if outcome.is_err() {
            // Not for the account of the next request.
            self.gather.take_received();
        }
        outcome
    }

    fn blocks(
        &mut self,
        model: &mut Model,
        order: &Order,
        mut cache: Option<&mut Decoder>,
    ) -> Result<Outcome, JobError> {
        let mut clock = Clock::start(order.deadline, model.shape().blocks);
        let mut stats = JobStats::default();
        self.member.divide(self.overlap.is_divided());

        clock.time(&mut stats.compute, || {
            self.member.embed(model, order.input.borrow())
        })?;
        let tokens = 0..self.member.tokens();
        self.encode_and_send((order.request, 0), tokens, &mut stats)?;
        for block in 0..model.shape().blocks {
            model.beat();
            self.note_codes(block, &mut stats)?;
            clock.time(&mut stats.compute, || self.member.local(model, block))?;
            if self.has_receivers() {
                clock.time(&mut stats.compute, || self.member.expect_own(model, block))?;
            }
            clock.time(&mut stats.compute, || self.member.expect(model, block))?;
            let arrived = self.gather_block(order.request, block, &mut clock, &mut stats)?;
            if cache.is_some() && stats.masked_tokens > 0 {
                return self.outcome(stats, &clock, false);
            }
            clock.time(&mut stats.compute, || {
                self.member.attend(model, &self.codec, block, arrived)
            })?;
            if let Some(cache) = &mut cache {
                let (keys, values) = self.member.seen();
                clock.time(&mut stats.compute, || cache.fill(block, keys, values))?;
            }
            for piece in 0..self.member.pieces() {
                let mlp = || self.member.mlp(model, block, piece);
                let tokens = clock.time(&mut stats.compute, mlp)?;
                if block + 1 < model.shape().blocks {
                    self.encode_and_send((order.request, block + 1), tokens, &mut stats)?;
                }
            }
        }
        self.overlap.note(stats.wait, clock.start.elapsed());
        self.outcome(stats, &clock, true)
    }

    fn outcome(
        &self,
        mut stats: JobStats,
        clock: &Clock,
        complete: bool,
    ) -> Result<Outcome, JobError> {
        stats.received = self.gather.take_received();
        (stats.total, stats.own) = (clock.start.elapsed(), clock.own());
        let (cls, features) = if complete {
            (self.member.n_class()?, self.member.n_patches()?)
        } else {
            Default::default()
        };
        Ok(Outcome {
            cls: cls.to_vec(),
            features: features.to_vec(),
            stats,
        })
    }

    /// Whether anybody attends to the own tokens.
    fn has_receivers(&self) -> bool {
        self.plan.receivers(self.me) > 0
    }

    /// Codes of some own tokens, out to the members that attend to them.
    fn encode_and_send(
        &mut self,
        (request, block): (u32, usize),
        tokens: Range<usize>,
        stats: &mut JobStats,
    ) -> Result<(), JobError> {
        let range = self.plan.ranges.get(self.me);
        let Some(range) = range.filter(|_| self.has_receivers()) else {
            return Ok(());
        };
        if tokens.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
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
            rung: self.layout.rung(),
            flags: if self.codec.predicts() && block > 0 {
                Flags::PREDICTED
            } else {
                Flags::NONE
            },
        };
        match self.codec.codebook(block)? {
            Some(book) => {
                self.member.residual(tokens.clone())?;
                let y = rows(self.member.y()?, &tokens, self.codec.rank())?;
                let (from, to) = (tokens.start * book.groups(), tokens.end * book.groups());
                let codes = part_mut("codes", &mut self.codes, from..to)?;
                book.encode(y, codes).map_err(EngineError::from)?;
                self.out
                    .send(Framer::new(header, self.layout, codes)?, stats)?;
            }
            None => {
                let values = rows(self.member.n_patches()?, &tokens, self.codec.codes())?;
                self.out
                    .send(Framer::new(header, self.layout, values)?, stats)?;
            }
        }
        stats.code_bytes_sent += self.code_bytes(header.tokens);
        stats.encode += start.elapsed();
        Ok(())
    }

    /// Has the member note what receivers now know of its tokens, for what they expect of the next block.
    fn note_codes(&mut self, block: usize, stats: &mut JobStats) -> Result<(), JobError> {
        if !self.has_receivers() {
            return Ok(());
        }
        let start = Instant::now();
        if let Some(book) = self.codec.codebook(block)? {
            self.member.coded(&book, &self.codes)?;
        }
        stats.encode += start.elapsed();
        Ok(())
    }

    /// Rows of `remote` that are there when waiting ends.
    fn gather_block(
        &mut self,
        request: u32,
        block: usize,
        clock: &mut Clock,
        stats: &mut JobStats,
    ) -> Result<usize, JobError> {
        clock.set_patience(block);
        let book = self.codec.codebook(block)?;
        let (remote, tokens) = self.member.remote_rows_mut();
        let patience = &mut clock.patience;
        let collected =
            (self.gather).collect(request, block, book.as_ref(), remote, tokens, patience)?;
        stats.wait += collected.waited;
        stats.decode += collected.decoded;
        stats.masked_tokens += collected.missing as u64;
        Ok(self.member.complete(collected.arrived)?)
    }

    /// Bytes the codes of so many tokens pack to, padding of each frame's last byte aside.
    fn code_bytes(&self, tokens: u16) -> u64 {
        let bits = u64::from(self.layout.codes_per_token()) * u64::from(self.layout.bits());
        (u64::from(tokens) * bits).div_ceil(8)
    }
}

/// The named rows of a matrix whose rows are `width` long.
fn rows<'a>(
    matrix: &'a [f32],
    rows: &Range<usize>,
    width: usize,
) -> Result<&'a [f32], EngineError> {
    part("rows", matrix, rows.start * width..rows.end * width)
}
