//! Lock-free buffers for received codes, written by the link's threads and read by the compute thread.
//!
//! A ring of slots holds one block each. Slots are never cleared: tags say what they hold. A tag is the number of the block over all
//! requests of the plan, so codes of an earlier use of a slot are never mistaken for new ones. Values are relaxed atomics, which are plain
//! loads and stores on all supported processors; a frame that arrives twice writes the same values twice.
//!
//! Second-stage codes are stored for the refined tokens only, in entries whose place follows from the frame's first token
//! ([`first_entry`]); for each token a number says which entry is its own. Frames of one member that overlap, which no correct
//! member sends, overwrite each other's entries and no one else's. Means are stored in the same way ([`mean_of`]).

use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use astra_wire::{CodeHeader, FrameCodes, FrameError, Layout};

use super::position::FrameRejection;
use super::sizes::{SlotSizes, first_entry, halves, halves_per_token, mean_of};

/// Low bits of a progress word that count; the tag is above them.
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// A token without a mean. Other numbers are those of means, from 1 on: at most 65,536 / 8.
const NO_MEAN: u16 = 0;

/// A token without second-stage codes. Other numbers are those of entries, from 1 on: at most 2 * 64 * 65,536 / 256 = 32,768.
const NOT_REFINED: u16 = 0;

pub(super) struct Slots {
    /// One for each buffered block.
    slots: Vec<Slot>,
    parts: usize,
}

struct Slot {
    /// First-stage codes of all tokens; in exact mode the lower and the upper half of float32 values.
    codes: Vec<AtomicU16>,
    /// The entry of each token, or [`NOT_REFINED`]; empty without a second stage.
    entries: Vec<AtomicU16>,
    /// Second-stage codes, by entry.
    second: Vec<AtomicU16>,
    /// The mean of each token's frame, or [`NO_MEAN`]; empty where frames have none.
    mean_numbers: Vec<AtomicU16>,
    /// Packed means.
    means: Vec<AtomicU8>,
    /// Tag of the last write, by token and part of the token.
    written: Vec<AtomicU32>,
    /// Tag and number of written parts, by member.
    progress: Vec<AtomicU64>,
}

impl Slots {
    pub(super) fn new(sizes: &SlotSizes) -> Self {
        let words = |count: usize| (0..count).map(|_| AtomicU16::new(0)).collect();
        let refines = usize::from(sizes.entries > 0);
        let slot = || Slot {
            codes: words(sizes.tokens * sizes.halves),
            entries: words(sizes.tokens * refines),
            second: words(sizes.entries * sizes.entry_codes),
            mean_numbers: words(sizes.tokens * usize::from(sizes.means > 0)),
            means: (0..sizes.means * sizes.mean_bytes)
                .map(|_| AtomicU8::new(0))
                .collect(),
            written: (0..sizes.tokens * sizes.parts)
                .map(|_| AtomicU32::new(0))
                .collect(),
            progress: (0..sizes.members).map(|_| AtomicU64::new(0)).collect(),
        };
        Self {
            slots: (0..sizes.depth).map(|_| slot()).collect(),
            parts: sizes.parts,
        }
    }

    /// Writes the codes of a frame. Returns the number of parts of the member written so far, 0 if a later block has taken the slot.
    ///
    /// # Errors
    /// There is no slot of that member, or of those tokens.
    pub(super) fn write(
        &self,
        key: SlotKey,
        layout: &Layout,
        header: &CodeHeader,
        codes: FrameCodes<'_>,
    ) -> Result<u64, FrameRejection> {
        let slot = self.slot(key.sequence).ok_or(FrameRejection::NoSlot)?;
        let first = usize::from(header.first_token);
        let tokens = first..first + usize::from(header.tokens);
        slot.write_mean(layout, tokens.clone(), codes.mean)?;
        slot.write_second(layout, tokens.clone(), codes.positions, codes.second)?;
        let span = layout.span(header).map_err(FrameError::from)?;
        slot.write_first(layout, span, codes.first)?;
        let tag = short_tag(key.sequence);
        let mut new_parts = 0;
        for token in tokens {
            let written = token * self.parts + usize::from(header.part);
            let written = slot.written.get(written).ok_or(FrameRejection::NoSlot)?;
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

    /// First-stage codes of a token, or the values of exact mode; `None` if the slot is shorter.
    pub(super) fn codes(
        &self,
        sequence: u64,
        layout: &Layout,
        token: usize,
    ) -> Option<impl Iterator<Item = u32> + '_> {
        let width = halves_per_token(layout);
        let slot = self.slot(sequence)?;
        let words = slot.codes.get(token * width..(token + 1) * width)?;
        let code = |halves: &[AtomicU16]| {
            let halves = halves.iter().rev();
            halves.fold(0, |code, half| {
                code << u16::BITS | u32::from(half.load(Ordering::Relaxed))
            })
        };
        Some(words.chunks_exact(halves(layout)).map(code))
    }

    /// Second-stage codes of a token, if it was refined; `None` if the slot is shorter.
    pub(super) fn second(
        &self,
        sequence: u64,
        layout: &Layout,
        token: usize,
    ) -> Option<Option<impl Iterator<Item = u32> + '_>> {
        let Some(second) = layout.refinement() else {
            return Some(None);
        };
        let slot = self.slot(sequence)?;
        let entry = slot.entries.get(token)?.load(Ordering::Relaxed);
        if entry == NOT_REFINED {
            return Some(None);
        }
        let (end, codes) = (usize::from(entry), usize::from(second.codes));
        let words = slot.second.get((end - 1) * codes..end * codes)?;
        Some(Some(
            words
                .iter()
                .map(|word| u32::from(word.load(Ordering::Relaxed))),
        ))
    }

    /// Number of the mean of a token's frame, of those of its block, if the frame has one; `None` if the slot is shorter.
    pub(super) fn mean_number(&self, sequence: u64, token: usize) -> Option<Option<usize>> {
        let number = self.slot(sequence)?.mean_numbers.get(token)?;
        Some(usize::from(number.load(Ordering::Relaxed)).checked_sub(1))
    }

    /// A packed mean; `None` if the slot is shorter.
    pub(super) fn mean(
        &self,
        sequence: u64,
        layout: &Layout,
        number: usize,
    ) -> Option<impl Iterator<Item = u8> + '_> {
        let length = usize::from(layout.mean());
        let bytes = number * length..(number + 1) * length;
        let bytes = self.slot(sequence)?.means.get(bytes)?;
        Some(bytes.iter().map(|byte| byte.load(Ordering::Relaxed)))
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
    /// Writes first-stage codes whose place among all codes is `span`.
    fn write_first(
        &self,
        layout: &Layout,
        span: Range<usize>,
        codes: impl Iterator<Item = u32>,
    ) -> Result<(), FrameRejection> {
        let halves = halves(layout);
        let words = self.codes.get(span.start * halves..span.end * halves);
        let words = words.ok_or(FrameRejection::NoSlot)?;
        for (halves, code) in words.chunks_exact(halves).zip(codes) {
            for (half, shift) in halves.iter().zip([0, u16::BITS]) {
                // The cast takes the half.
                half.store((code >> shift) as u16, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Writes the mean of the frame of `tokens`, and its number to each of them.
    fn write_mean(
        &self,
        layout: &Layout,
        tokens: Range<usize>,
        mean: &[u8],
    ) -> Result<(), FrameRejection> {
        let length = usize::from(layout.mean());
        if length == 0 {
            return Ok(());
        }
        let number = mean_of(tokens.start);
        let numbers = self.mean_numbers.get(tokens);
        let numbers = numbers.ok_or(FrameRejection::NoSlot)?;
        // Means are numbered below 2^16: see `NO_MEAN`.
        let own = if mean.is_empty() {
            NO_MEAN
        } else {
            number as u16 + 1
        };
        if !mean.is_empty() {
            let bytes = self.means.get(number * length..(number + 1) * length);
            let bytes = bytes.ok_or(FrameRejection::NoSlot)?;
            for (stored, &byte) in bytes.iter().zip(mean) {
                stored.store(byte, Ordering::Relaxed);
            }
        }
        numbers
            .iter()
            .for_each(|stored| stored.store(own, Ordering::Relaxed));
        Ok(())
    }

    /// Writes the entries of `tokens`, and the second-stage codes of those that are refined. The number of a token is written once, so
    /// that a frame that arrives again while its tokens are read changes nothing.
    fn write_second(
        &self,
        layout: &Layout,
        tokens: Range<usize>,
        positions: impl Iterator<Item = u32>,
        codes: impl ExactSizeIterator<Item = u32>,
    ) -> Result<(), FrameRejection> {
        let Some(second) = layout.refinement() else {
            return Ok(());
        };
        let first = first_entry(&second, tokens.start);
        let start = first * usize::from(second.codes);
        let words = self.second.get(start..start + codes.len());
        let words = words.ok_or(FrameRejection::NoSlot)?;
        let numbers = self.entries.get(tokens).ok_or(FrameRejection::NoSlot)?;
        for (word, code) in words.iter().zip(codes) {
            // Second-stage codes have at most 16 bits.
            word.store(code as u16, Ordering::Relaxed);
        }
        let mut positions = positions.peekable();
        let mut end = first;
        for (number, token) in numbers.iter().zip(0_u32..) {
            let refined = positions.next_if_eq(&token).is_some();
            end += usize::from(refined);
            // Entries are numbered below 2^16: see `NOT_REFINED`.
            let entry = if refined { end as u16 } else { NOT_REFINED };
            number.store(entry, Ordering::Relaxed);
        }
        Ok(())
    }

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
