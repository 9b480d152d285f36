//! Lock-free buffers for received codes, written by the link's threads and read by the compute thread.
//!
//! A ring of slots holds one block each. Slots are never cleared: tags say what they hold. A tag is the number of the block over all
//! requests of the plan, so codes of an earlier use of a slot are never mistaken for new ones. Values are relaxed atomics, which are plain
//! loads and stores on all supported processors; a frame that arrives twice writes the same values twice.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::position::FrameRejection;

/// Low bits of a progress word that count; the tag is above them.
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

pub(super) struct Slots {
    /// One for each buffered block.
    slots: Vec<Slot>,
    parts: usize,
}

struct Slot {
    /// Codes of all tokens; in exact mode the bits of float32 values.
    codes: Vec<AtomicU32>,
    /// Tag of the last write, by token and part of the token.
    written: Vec<AtomicU32>,
    /// Tag and number of written parts, by member.
    progress: Vec<AtomicU64>,
}

impl Slots {
    /// Slots for `depth` blocks of `tokens` tokens of `codes` codes each, a token being sent in `parts` parts.
    pub(super) fn new(
        depth: usize,
        tokens: usize,
        codes: usize,
        parts: usize,
        members: usize,
    ) -> Self {
        let slot = || Slot {
            codes: (0..tokens * codes).map(|_| AtomicU32::new(0)).collect(),
            written: (0..tokens * parts).map(|_| AtomicU32::new(0)).collect(),
            progress: (0..members).map(|_| AtomicU64::new(0)).collect(),
        };
        Self {
            slots: (0..depth.max(1)).map(|_| slot()).collect(),
            parts,
        }
    }

    /// Writes codes of complete tokens, or of one part of one token. Returns the number of parts of the member written so far, 0 if a
    /// later block has taken the slot.
    ///
    /// # Errors
    /// There is no slot of that member, or of those tokens.
    pub(super) fn write(
        &self,
        key: SlotKey,
        span: Range<usize>,
        tokens: Range<usize>,
        part: usize,
        codes: impl Iterator<Item = u32>,
    ) -> Result<u64, FrameRejection> {
        let slot = self.slot(key.sequence).ok_or(FrameRejection::NoSlot)?;
        let entries = slot.codes.get(span).ok_or(FrameRejection::NoSlot)?;
        for (entry, code) in entries.iter().zip(codes) {
            entry.store(code, Ordering::Relaxed);
        }
        let tag = short_tag(key.sequence);
        let mut new_parts = 0;
        for token in tokens {
            let written = slot.written.get(token * self.parts + part);
            let written = written.ok_or(FrameRejection::NoSlot)?;
            // Releases the codes above to the thread that reads the tag.
            if written.swap(tag, Ordering::AcqRel) != tag {
                new_parts += 1;
            }
        }
        slot.advance(key, new_parts)
    }

    /// Number of a member's parts of a block written so far.
    pub(super) fn progress(&self, key: SlotKey) -> u64 {
        let word = self
            .slot(key.sequence)
            .and_then(|slot| slot.progress.get(key.member))
            .map_or(0, |word| word.load(Ordering::Acquire));
        if word >> COUNT_BITS == tag(key.sequence) {
            word & COUNT_MASK
        } else {
            0
        }
    }

    /// Whether every part of a token was written.
    pub(super) fn has_token(&self, sequence: u64, token: usize) -> bool {
        let parts = token * self.parts..(token + 1) * self.parts;
        self.slot(sequence)
            .and_then(|slot| slot.written.get(parts))
            .is_some_and(|written| {
                let tag = short_tag(sequence);
                written
                    .iter()
                    .all(|word| word.load(Ordering::Acquire) == tag)
            })
    }

    /// The codes in `span` of all tokens; `None` if the slot is shorter.
    pub(super) fn codes(
        &self,
        sequence: u64,
        span: Range<usize>,
    ) -> Option<impl Iterator<Item = u32> + '_> {
        let codes = self.slot(sequence)?.codes.get(span)?;
        Some(codes.iter().map(|code| code.load(Ordering::Relaxed)))
    }

    /// Number of buffered blocks.
    pub(super) fn depth(&self) -> u64 {
        self.slots.len() as u64
    }

    fn slot(&self, sequence: u64) -> Option<&Slot> {
        self.slots.get((sequence % self.depth()) as usize)
    }
}

/// Identifies a member's codes of one block.
#[derive(Clone, Copy)]
pub(super) struct SlotKey {
    /// Number of the block over all requests of the plan.
    pub(super) sequence: u64,
    /// The member that sends.
    pub(super) member: usize,
}

impl Slot {
    fn advance(&self, key: SlotKey, new_parts: u64) -> Result<u64, FrameRejection> {
        let progress = self.progress.get(key.member);
        let progress = progress.ok_or(FrameRejection::NoSlot)?;
        let tag = tag(key.sequence);
        let mut count = 0;
        let step = |word: u64| {
            count = match (word >> COUNT_BITS).cmp(&tag) {
                std::cmp::Ordering::Equal => (word & COUNT_MASK) + new_parts,
                std::cmp::Ordering::Less => new_parts,
                // A later block has taken the slot.
                std::cmp::Ordering::Greater => return None,
            };
            Some(tag << COUNT_BITS | count)
        };
        match progress.fetch_update(Ordering::AcqRel, Ordering::Acquire, step) {
            Ok(_) => Ok(count),
            Err(_) => Ok(0),
        }
    }
}

/// Never 0, the initial value of the words. Blocks are numbered below 2^40, so the tag fits above the count.
fn tag(sequence: u64) -> u64 {
    sequence + 1
}

/// The low 32 bits of a tag: a slot is reused long before 2^32 blocks, so they are unambiguous.
fn short_tag(sequence: u64) -> u32 {
    // The cast truncates; 0 would equal the initial value once in 2^32 blocks.
    (tag(sequence) as u32).max(1)
}
