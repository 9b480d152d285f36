//! Receiving codes: the link's callback writes them to slots, the data path reads them block by block.
//!
//! [`Gather::receive`] runs on the link's receiving thread and never blocks; [`Gather::collect`] runs on the compute thread and waits for
//! all frames of a block from each member, or for the deadline. Neither allocates.
//!
//! # Memory
//! Slots are sized for the block with the most codes. A token takes 2 bytes for each first-stage code (4 in exact mode) and 4 for the tag
//! of each part; with a second stage 2 for the number of its entry, and of an entry of 2 bytes a code the share `2 s / 256`. At 160 bits:
//!
//! | | first stage | tag | entry | second stage | bytes a token and block |
//! |---|---|---|---|---|---|
//! | 20 codes in every block, one stage | 40 | 4 | | | 44 |
//! | 8 to 30 codes, 5 % refined by 3 times as many | 60 | 4 | 2 | 26/256 of 180 | 84 |
//!
//! An encoder of 256 tokens buffers 8 blocks, 172 kB of the latter; the last member of a causal text of 2,048 tokens and 30 blocks up to
//! 5.2 MB.

mod collect;
mod counters;
mod position;
mod sizes;
mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::Thread;

use astra_wire::{CodeFrame, CodeHeader, Frames, Layout, MAX_MEMBERS};

use crate::plan::Plan;
use astra_model::partition::TokenRange;
pub use collect::{GatherError, GatheredBlock, WaitState};
use counters::Counters;
pub use counters::ReceiveStats;
use position::{FrameRejection, Position, WINDOW};
use sizes::SlotSizes;
use slots::{SlotKey, Slots};

/// Instead of the number of a cancelled request: all of them.
const ALL: u64 = u64::MAX;

/// Buffer for the codes that one member of a plan receives.
pub struct Gather {
    plan: Arc<Plan>,
    me: usize,
    blocks: u64,
    /// Of the codes of each block.
    layouts: Vec<Layout>,
    predicts: bool,
    slots: Slots,
    counters: Counters,
    /// Progress of the data path, a packed [`Position`].
    position: AtomicU64,
    /// Last request cancelled by its coordinator, plus one; [`ALL`] once the coordinator is gone.
    cancelled: AtomicU64,
    /// Members that left the cluster, as a bit mask.
    left: AtomicU16,
    thread: Thread,
}

impl Gather {
    /// Allocates slots for codes of the other members of `plan`, those of each block in one of `layouts`. `thread` is unparked when a
    /// member's codes of a block are complete. `predicts` says whether codes after the first block are of residuals.
    pub fn new(
        plan: Arc<Plan>,
        me: usize,
        layouts: Vec<Layout>,
        predicts: bool,
        thread: Thread,
    ) -> Self {
        let slots = Slots::new(&SlotSizes::new(&plan, me, &layouts));
        Self {
            me,
            blocks: layouts.len() as u64,
            layouts,
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

    /// Receives a batch of frames. Frames that cannot be used are counted and dropped; an invalid frame ends the batch.
    pub fn receive(&self, batch: &[u8]) {
        let mut complete = false;
        let mut stats = ReceiveStats {
            bytes: batch.len() as u64,
            ..ReceiveStats::default()
        };
        for frame in Frames::new(batch, &self.layouts) {
            stats.frames += 1;
            let accepted = frame.map_err(FrameRejection::from);
            match accepted.and_then(|frame| self.accept(frame)) {
                Ok(last) => complete |= last,
                Err(reason) => {
                    match reason {
                        FrameRejection::Late => stats.late += 1,
                        _ => stats.refused += 1,
                    }
                    tracing::trace!(%reason, "frame dropped");
                }
            }
        }
        self.counters.add(&stats);
        if complete {
            self.thread.unpark();
        }
    }

    /// Writes a frame to its slot. Returns whether it completes its member's codes of a block.
    fn accept(&self, frame: CodeFrame<'_>) -> Result<bool, FrameRejection> {
        let header = frame.header;
        let range = self.range_of(&header).ok_or(FrameRejection::Foreign)?;
        let key = SlotKey {
            sequence: u64::from(header.request) * self.blocks + u64::from(header.block),
            member: usize::from(header.sender),
        };
        Position::unpack(self.position.load(Ordering::Acquire)).check(
            key.sequence,
            self.slots.depth(),
            self.blocks,
        )?;
        let layout = self.layout(header.block.into());
        let layout = layout.ok_or(FrameRejection::Foreign)?;
        let codes = frame.codes(layout)?;
        let count = self.slots.write(key, layout, &header, codes)?;
        Ok(count == parts_of(layout, range))
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

    fn layout(&self, block: usize) -> Option<&Layout> {
        self.layouts.get(block)
    }

    /// Records that a member left the cluster: its codes are no longer waited for.
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

    /// Whether a request was cancelled.
    pub fn is_cancelled(&self, request: u32) -> bool {
        let cancelled = self.cancelled.load(Ordering::Acquire);
        cancelled == u64::from(request) + 1 || cancelled == ALL
    }

    /// Cancels a request: the data path stops at its next block.
    pub fn cancel(&self, request: u32) {
        self.set_cancelled(u64::from(request) + 1);
    }

    /// Cancels all requests of the plan, now and later.
    pub fn cancel_all(&self) {
        self.set_cancelled(ALL);
    }

    fn set_cancelled(&self, word: u64) {
        // Once all are cancelled, none can be that is not.
        self.cancelled.fetch_max(word, Ordering::AcqRel);
        self.thread.unpark();
    }

    /// Counts since the last call.
    pub fn take_stats(&self) -> ReceiveStats {
        self.counters.take()
    }

    /// Starts a request: frames of earlier requests are dropped from now on.
    ///
    /// # Errors
    /// It is not one of the next 64 requests of the plan: after it, frames of all requests before would be late.
    pub fn begin(&self, request: u32) -> Result<(), GatherError> {
        let position = Position::unpack(self.position.load(Ordering::Acquire));
        let next = position.next_request(self.blocks);
        if !(next..next + u64::from(WINDOW)).contains(&u64::from(request)) {
            return Err(GatherError::Request {
                found: request,
                next,
            });
        }
        let sequence = u64::from(request) * self.blocks;
        self.position
            .store(Position::running(sequence).pack(), Ordering::Release);
        Ok(())
    }

    /// Ends a request, whether it succeeded or not: frames of the next are accepted from now on.
    pub fn end(&self, request: u32) {
        let sequence = (u64::from(request) + 1) * self.blocks;
        self.position
            .store(Position::idle(sequence).pack(), Ordering::Release);
    }
}

/// Memory for the codes that member `me` of `plan` receives.
pub fn received_bytes(plan: &Plan, me: usize, layouts: &[Layout]) -> usize {
    SlotSizes::new(plan, me, layouts).bytes()
}

/// Number of parts of a member's codes of a block.
fn parts_of(layout: &Layout, range: TokenRange) -> u64 {
    u64::from(range.tokens) * u64::from(layout.parts())
}

#[cfg(test)]
mod tests;
