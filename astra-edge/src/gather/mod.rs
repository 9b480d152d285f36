//! Receiving codes: the link's callback puts them in slots, the data path takes them out block by block.
//!
//! [`Gather::receive`] runs on whatever thread the link receives on and never waits; [`Gather::collect`] runs on the job's
//! thread and waits for one full set of frames from each member, or for the deadline. Neither allocates.

mod counters;
mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use astra_codec::{Codebook, LengthError};
use astra_wire::{CodeHeader, FrameError, Layout, MAX_MEMBERS};

use crate::plan::{Plan, TokenRange};
use counters::Counters;
pub use counters::Received;
use slots::{DEPTH, Place, Slots};

/// Codes of one plan on their way in.
pub struct Gather {
    plan: Arc<Plan>,
    me: usize,
    blocks: u64,
    layout: Layout,
    slots: Slots,
    counters: Counters,
    /// Where the data path is: see [`Position`].
    position: AtomicU64,
    /// Request given up by its coordinator, plus one.
    cancelled: AtomicU64,
    /// Members that left the cluster, as a bit mask.
    left: AtomicU16,
    thread: Thread,
}

/// What a block's gathering came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collected {
    /// Rows of `remote` that are there, from the first on.
    pub arrived: usize,
    /// Tokens that did not come in time.
    pub missing: usize,
    /// Time spent with nothing to do.
    pub waited: Duration,
    /// Time spent decoding.
    pub decoded: Duration,
}

/// Why gathering stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// The coordinator gave the request up.
    #[error("request {request} was cancelled by its coordinator")]
    Cancelled {
        /// The request.
        request: u32,
    },
    /// `remote` is not of the codec's shape.
    #[error(transparent)]
    Code(#[from] LengthError),
}

/// Why a frame is not used.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("from another plan, or of no block or range of this one")]
    Foreign,
    #[error("for a block that is over")]
    Late,
    #[error("for a block too far ahead")]
    Early,
}

/// Deadline and members given up on, kept over the blocks of one request.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// When to stop waiting in this block.
    pub until: Instant,
    /// Members that missed a deadline, as a bit mask: not waited for until a full set of theirs is there again.
    pub late: u16,
}

impl Gather {
    /// Slots for the members of `plan` other than `me`, whose codes are laid out as `layout`. `thread` is woken when a
    /// member's codes of a block are complete.
    pub fn new(plan: Arc<Plan>, me: usize, blocks: usize, layout: Layout, thread: Thread) -> Self {
        let tokens = plan.ranges.last().map_or(0, TokenRange::end);
        let slots = Slots::new(
            tokens,
            usize::from(layout.codes_per_token()),
            usize::from(layout.parts()),
            plan.ranges.len(),
        );
        Self {
            me,
            blocks: blocks as u64,
            layout,
            slots,
            counters: Counters::default(),
            position: AtomicU64::new(Position::IDLE_AT_START),
            cancelled: AtomicU64::new(0),
            left: AtomicU16::new(0),
            thread,
            plan,
        }
    }

    /// Takes in one frame. What cannot be used is counted and dropped.
    pub fn receive(&self, bytes: &[u8]) {
        self.counters.frame(bytes.len());
        match self.accept(bytes) {
            Ok(complete) => {
                if complete {
                    self.thread.unpark();
                }
            }
            Err(reason) => {
                self.counters.refused();
                tracing::trace!(%reason, "frame not used");
            }
        }
    }

    /// Whether the frame completed its member's codes of a block.
    fn accept(&self, bytes: &[u8]) -> Result<bool, Refused> {
        let frame = astra_wire::parse(bytes)?;
        let header = frame.header;
        let range = self.range_of(&header).ok_or(Refused::Foreign)?;
        let place = Place {
            sequence: u64::from(header.request) * self.blocks + u64::from(header.block),
            member: usize::from(header.sender),
        };
        Position::unpack(self.position.load(Ordering::Acquire)).check(place.sequence)?;
        let codes = frame.codes(&self.layout)?;
        let span = self
            .layout
            .span(&header)
            .map_err(|mismatch| FrameError::from(mismatch))?;
        let first = usize::from(header.first_token);
        let tokens = first..first + usize::from(header.tokens);
        let part = usize::from(header.part);
        let count = self.slots.write(place, span, tokens, part, codes);
        Ok(count == self.whole(range))
    }

    /// The sender's range, if the frame belongs to this plan and stays within it.
    fn range_of(&self, header: &CodeHeader) -> Option<TokenRange> {
        let sender = usize::from(header.sender);
        let range = *self.plan.ranges.get(sender)?;
        let end = usize::from(header.first_token) + usize::from(header.tokens);
        let ours = header.epoch == self.plan.epoch
            && u64::from(header.block) < self.blocks
            && sender != self.me
            && !header.flags.is_predicted()
            && header.first_token >= range.first
            && end <= range.end();
        ours.then_some(range)
    }

    /// Parts that make a member's codes of a block complete.
    fn whole(&self, range: TokenRange) -> u64 {
        u64::from(range.tokens) * u64::from(self.layout.parts())
    }

    /// Notes that a member left the cluster: nothing is waited for from it any more.
    pub fn member_left(&self, member: usize) {
        if member < MAX_MEMBERS {
            self.left.fetch_or(1 << member, Ordering::AcqRel);
            self.thread.unpark();
        }
    }

    /// Gives a request up: the data path stops at its next wait.
    pub fn cancel(&self, request: u32) {
        self.cancelled
            .store(u64::from(request) + 1, Ordering::Release);
        self.thread.unpark();
    }

    /// What was received since the last call.
    pub fn take_received(&self) -> Received {
        self.counters.take()
    }

    /// Starts a request: frames of earlier ones are refused from here on.
    pub fn begin(&self, request: u32) {
        let sequence = u64::from(request) * self.blocks;
        self.position
            .store(Position::running(sequence).pack(), Ordering::Release);
    }

    /// Ends a request, whichever way it went: frames of the next may come at any time.
    pub fn end(&self, request: u32) {
        let sequence = (u64::from(request) + 1) * self.blocks;
        self.position
            .store(Position::idle(sequence).pack(), Ordering::Release);
    }

    /// Decodes the other members' tokens of a block into `remote`, [r, R], as they complete, waiting as `patience` says.
    ///
    /// Tokens that are there lie one after another from the first row on, in the order of the tokens. `book` is the
    /// block's codebook, `None` in exact mode.
    ///
    /// # Errors
    /// The request was cancelled, or `remote` is not of the codec's shape.
    pub fn collect(
        &self,
        request: u32,
        block: usize,
        book: Option<&Codebook<'_>>,
        remote: &mut [f32],
        patience: &mut Patience,
    ) -> Result<Collected, GatherError> {
        let sequence = u64::from(request) * self.blocks + block as u64;
        let others = self.everyone() & !(1 << self.me);
        let mut outcome = Collected::default();
        let mut pending = others;
        loop {
            for member in members(pending) {
                if self.decode_if_complete(sequence, member, book, remote, &mut outcome)? {
                    pending &= !(1 << member);
                    patience.late &= !(1 << member);
                }
            }
            let gone = self.left.load(Ordering::Acquire) | patience.late;
            if pending & !gone == 0 {
                break;
            }
            if self.cancelled.load(Ordering::Acquire) == u64::from(request) + 1 {
                return Err(GatherError::Cancelled { request });
            }
            let now = Instant::now();
            let Some(left) = patience
                .until
                .checked_duration_since(now)
                .filter(|t| !t.is_zero())
            else {
                patience.late |= pending;
                break;
            };
            std::thread::park_timeout(left);
            outcome.waited += now.elapsed();
        }
        self.position
            .store(Position::running(sequence + 1).pack(), Ordering::Release);
        if pending == 0 {
            outcome.arrived = self.remote_rows();
        } else {
            self.close_up(sequence, pending, book, remote, &mut outcome)?;
        }
        Ok(outcome)
    }

    fn decode_if_complete(
        &self,
        sequence: u64,
        member: usize,
        book: Option<&Codebook<'_>>,
        remote: &mut [f32],
        outcome: &mut Collected,
    ) -> Result<bool, GatherError> {
        let Some(&range) = self.plan.ranges.get(member) else {
            return Ok(true);
        };
        if self.slots.progress(Place { sequence, member }) != self.whole(range) {
            return Ok(false);
        }
        let start = Instant::now();
        let width = self.width(book);
        let at = self.first_row(member) * width;
        let rows = remote.get_mut(at..at + usize::from(range.tokens) * width);
        for (token, row) in range
            .indexes()
            .zip(rows.unwrap_or_default().chunks_exact_mut(width))
        {
            self.decode_token(sequence, token, book, row)?;
        }
        outcome.decoded += start.elapsed();
        Ok(true)
    }

    /// Moves up what is there so that no gaps remain, with those tokens of the `pending` members that did come.
    fn close_up(
        &self,
        sequence: u64,
        pending: u16,
        book: Option<&Codebook<'_>>,
        remote: &mut [f32],
        outcome: &mut Collected,
    ) -> Result<(), GatherError> {
        let width = self.width(book);
        let mut next = 0;
        for member in members(self.everyone() & !(1 << self.me)) {
            let Some(&range) = self.plan.ranges.get(member) else {
                continue;
            };
            if pending & (1 << member) == 0 {
                let from = self.first_row(member);
                let rows = from * width..(from + usize::from(range.tokens)) * width;
                if rows.end <= remote.len() {
                    remote.copy_within(rows, next * width);
                }
                next += usize::from(range.tokens);
                continue;
            }
            for token in range.indexes() {
                if !self.slots.has_token(sequence, token) {
                    continue;
                }
                if let Some(row) = remote.get_mut(next * width..(next + 1) * width) {
                    self.decode_token(sequence, token, book, row)?;
                    next += 1;
                }
            }
        }
        outcome.arrived = next;
        outcome.missing = self.remote_rows() - next;
        Ok(())
    }

    fn decode_token(
        &self,
        sequence: u64,
        token: usize,
        book: Option<&Codebook<'_>>,
        row: &mut [f32],
    ) -> Result<(), GatherError> {
        let codes = usize::from(self.layout.codes_per_token());
        let values = self
            .slots
            .codes(sequence, token * codes..(token + 1) * codes);
        match book {
            Some(book) => book.decode_token(values, row)?,
            None => {
                for (place, bits) in row.iter_mut().zip(values) {
                    *place = f32::from_bits(bits);
                }
            }
        }
        Ok(())
    }

    fn width(&self, book: Option<&Codebook<'_>>) -> usize {
        book.map_or(usize::from(self.layout.codes_per_token()), Codebook::rank)
    }

    fn everyone(&self) -> u16 {
        // At most 16 members, so the shift stays below the width.
        ((1_u32 << self.plan.ranges.len().min(MAX_MEMBERS)) - 1) as u16
    }

    /// Row of `remote` where a member's tokens start: the tokens before it, without one's own.
    fn first_row(&self, member: usize) -> usize {
        let first = |index: usize| self.plan.ranges.get(index).map_or(0, |range| range.first);
        let own = self
            .plan
            .ranges
            .get(self.me)
            .map_or(0, |range| range.tokens);
        let skipped = if member > self.me { own } else { 0 };
        usize::from(first(member)) - usize::from(skipped)
    }

    fn remote_rows(&self) -> usize {
        let total = self.plan.ranges.last().map_or(0, TokenRange::end);
        let own = self
            .plan
            .ranges
            .get(self.me)
            .map_or(0, |range| range.tokens);
        total - usize::from(own)
    }
}

/// Where the data path is, in blocks over the life of the plan.
#[derive(Clone, Copy)]
struct Position {
    sequence: u64,
    running: bool,
}

impl Position {
    const IDLE_AT_START: u64 = 0;

    fn idle(sequence: u64) -> Self {
        Self {
            sequence,
            running: false,
        }
    }

    fn running(sequence: u64) -> Self {
        Self {
            sequence,
            running: true,
        }
    }

    fn pack(self) -> u64 {
        self.sequence << 1 | u64::from(self.running)
    }

    fn unpack(word: u64) -> Self {
        Self {
            sequence: word >> 1,
            running: word & 1 != 0,
        }
    }

    /// Whether codes of that block can still be used, and have a slot. While no request runs here, whatever is ahead is
    /// taken: the others may have been told to start before we were.
    fn check(self, sequence: u64) -> Result<(), Refused> {
        if sequence < self.sequence {
            return Err(Refused::Late);
        }
        if self.running && sequence - self.sequence >= DEPTH {
            return Err(Refused::Early);
        }
        Ok(())
    }
}

/// Indexes of the bits set.
fn members(mask: u16) -> impl Iterator<Item = usize> {
    (0..MAX_MEMBERS).filter(move |member| mask & (1 << member) != 0)
}

#[cfg(test)]
mod tests;
