//! Receiving codes: the link's callback puts them in slots, the data path takes them out block by block.
//!
//! [`Gather::receive`] runs on whatever thread the link receives on and never waits; [`Gather::collect`] runs on the job's
//! thread and waits for one full set of frames from each member, or for the deadline. Neither allocates.

mod collect;
mod counters;
mod position;
mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::Thread;

use astra_wire::{CodeFrame, CodeHeader, FrameError, Frames, Layout, MAX_MEMBERS};

use crate::plan::Plan;
use astra_model::partition::TokenRange;
pub use collect::{Collected, GatherError, Patience};
use counters::Counters;
pub use counters::Received;
use position::{Position, Refused};
use slots::{Place, Slots};

/// Blocks whose codes can wait at a time where all members wait for each other: one runs ahead of another by one block, and
/// by more only where deadlines were missed. In a causal plan the first member waits for nobody, and all blocks of a request
/// have to find room.
const DEPTH: usize = 8;

/// Codes of one plan on their way in.
pub struct Gather {
    plan: Arc<Plan>,
    me: usize,
    blocks: u64,
    layout: Layout,
    predicts: bool,
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

impl Gather {
    /// Slots for the members of `plan` other than `me`, whose codes are laid out as `layout`. `thread` is woken when a
    /// member's codes of a block are complete. `predicts` says whether codes behind the first block are of residuals.
    pub fn new(
        plan: Arc<Plan>,
        me: usize,
        blocks: usize,
        layout: Layout,
        predicts: bool,
        thread: Thread,
    ) -> Self {
        let (depth, tokens) = if plan.causal {
            (blocks, plan.remote_tokens(me))
        } else {
            (DEPTH, plan.tokens())
        };
        let slots = Slots::new(
            depth,
            tokens,
            usize::from(layout.codes_per_token()),
            usize::from(layout.parts()),
            plan.ranges.len(),
        );
        Self {
            me,
            blocks: blocks as u64,
            layout,
            predicts,
            slots,
            counters: Counters::default(),
            position: AtomicU64::new(Position::IDLE_AT_START),
            cancelled: AtomicU64::new(0),
            left: AtomicU16::new(0),
            thread,
            plan,
        }
    }

    /// Takes in the frames of one message. What cannot be used is counted and dropped; behind bytes that are no frame nothing can.
    pub fn receive(&self, message: &[u8]) {
        let mut complete = false;
        let mut news = Received {
            bytes: message.len() as u64,
            ..Received::default()
        };
        for frame in Frames::new(message, self.layout) {
            news.frames += 1;
            match frame.map_err(Refused::from).and_then(|f| self.accept(f)) {
                Ok(last) => complete |= last,
                Err(reason) => {
                    match reason {
                        Refused::Late => news.late += 1,
                        _ => news.refused += 1,
                    }
                    tracing::trace!(%reason, "frame not used");
                }
            }
        }
        self.counters.add(&news);
        if complete {
            self.thread.unpark();
        }
    }

    /// Whether the frame completed its member's codes of a block.
    fn accept(&self, frame: CodeFrame<'_>) -> Result<bool, Refused> {
        let header = frame.header;
        let range = self.range_of(&header).ok_or(Refused::Foreign)?;
        let place = Place {
            sequence: u64::from(header.request) * self.blocks + u64::from(header.block),
            member: usize::from(header.sender),
        };
        Position::unpack(self.position.load(Ordering::Acquire))
            .check(place.sequence, self.slots.depth())?;
        let codes = frame.codes(&self.layout)?;
        let span = self.layout.span(&header).map_err(FrameError::from)?;
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
            && self.plan.senders(self.me) & (1 << sender) != 0
            && header.flags.is_predicted() == (self.predicts && header.block > 0)
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

    /// Whether a member left the cluster.
    pub fn has_left(&self, member: usize) -> bool {
        member < MAX_MEMBERS && self.left.load(Ordering::Acquire) & (1 << member) != 0
    }

    /// Whether a request was given up.
    pub fn is_cancelled(&self, request: u32) -> bool {
        self.cancelled.load(Ordering::Acquire) == u64::from(request) + 1
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
}

#[cfg(test)]
mod tests;
