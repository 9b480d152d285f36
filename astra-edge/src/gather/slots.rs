//! Where received codes wait for the data path: written by the link's threads, read by the job's, without locks.
//!
//! A few blocks have a slot each, used in turn. What is in a slot is told by tags, never cleared: a tag is the number of the
//! block in the life of the plan, so nothing left over from an earlier use is ever taken for new. Values are atomics and
//! plain loads and stores on every processor this runs on; a frame that arrives twice writes the same values twice.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Low bits of a progress word that count; the tag is above them.
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

pub(super) struct Slots {
    /// One for each block whose codes can wait at a time.
    slots: Vec<Slot>,
    parts: usize,
}

struct Slot {
    /// Codes of the whole request, token by token; in exact mode the bits of float32 values.
    codes: Vec<AtomicU32>,
    /// Tag of what was last written, by token and part of it.
    written: Vec<AtomicU32>,
    /// Tag and number of parts written, by member.
    progress: Vec<AtomicU64>,
}

impl Slots {
    /// Slots for `depth` blocks of `tokens` tokens of `codes` codes each, a token in `parts` parts.
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

    /// Writes codes of whole tokens, or of one part of one token. Returns the parts of `member` written so far.
    pub(super) fn write(
        &self,
        at: Place,
        span: Range<usize>,
        tokens: Range<usize>,
        part: usize,
        codes: impl Iterator<Item = u32>,
    ) -> u64 {
        let Some(slot) = self.slot(at.sequence) else {
            return 0;
        };
        for (place, code) in slot.codes.get(span).unwrap_or_default().iter().zip(codes) {
            place.store(code, Ordering::Relaxed);
        }
        let tag = short_tag(at.sequence);
        let news = tokens
            .filter_map(|token| slot.written.get(token * self.parts + part))
            // Releases the codes above to whoever finds the tag.
            .filter(|written| written.swap(tag, Ordering::AcqRel) != tag)
            .count();
        slot.advance(at, news as u64)
    }

    /// Parts of `member` written for that block.
    pub(super) fn progress(&self, at: Place) -> u64 {
        let word = self
            .slot(at.sequence)
            .and_then(|slot| slot.progress.get(at.member))
            .map_or(0, |word| word.load(Ordering::Acquire));
        if word >> COUNT_BITS == tag(at.sequence) {
            word & COUNT_MASK
        } else {
            0
        }
    }

    /// Whether every part of a token is there.
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

    /// The codes in `span` of the whole request's.
    pub(super) fn codes(
        &self,
        sequence: u64,
        span: Range<usize>,
    ) -> impl Iterator<Item = u32> + '_ {
        self.slot(sequence)
            .and_then(|slot| slot.codes.get(span))
            .unwrap_or_default()
            .iter()
            .map(|code| code.load(Ordering::Relaxed))
    }

    /// Blocks whose codes can wait at a time.
    pub(super) fn depth(&self) -> u64 {
        self.slots.len() as u64
    }

    fn slot(&self, sequence: u64) -> Option<&Slot> {
        self.slots.get((sequence % self.depth()) as usize)
    }
}

/// A member's codes for one block.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Number of the block in the life of the plan.
    pub(super) sequence: u64,
    /// The member that sends.
    pub(super) member: usize,
}

impl Slot {
    fn advance(&self, at: Place, news: u64) -> u64 {
        let Some(progress) = self.progress.get(at.member) else {
            return 0;
        };
        let tag = tag(at.sequence);
        let mut count = 0;
        let step = |word: u64| {
            count = match (word >> COUNT_BITS).cmp(&tag) {
                std::cmp::Ordering::Equal => (word & COUNT_MASK) + news,
                std::cmp::Ordering::Less => news,
                // A block further on has taken the slot.
                std::cmp::Ordering::Greater => return None,
            };
            Some(tag << COUNT_BITS | count)
        };
        match progress.fetch_update(Ordering::AcqRel, Ordering::Acquire, step) {
            Ok(_) => count,
            Err(_) => 0,
        }
    }
}

/// Never 0, which is what fresh words hold. Blocks are numbered below 2^40, so the tag fits above the count.
fn tag(sequence: u64) -> u64 {
    sequence + 1
}

/// A slot comes round often enough that no tag is met 2^32 blocks later.
fn short_tag(sequence: u64) -> u32 {
    // The low half is what is wanted; 0 would look like a fresh word once in 2^32 blocks.
    (tag(sequence) as u32).max(1)
}
