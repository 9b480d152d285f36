//! Counters of received frames.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of received frames over a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveStats {
    /// Frames, including those dropped.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that arrived after their block was done.
    pub late: u64,
    /// Frames dropped for another reason: early, of another plan, or damaged.
    pub refused: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    /// Adds the counts of one batch.
    pub(super) fn add(&self, batch: &ReceiveStats) {
        for (counter, count) in [
            (&self.frames, batch.frames),
            (&self.bytes, batch.bytes),
            (&self.late, batch.late),
            (&self.refused, batch.refused),
        ] {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Returns the counts and resets them.
    pub(super) fn take(&self) -> ReceiveStats {
        ReceiveStats {
            frames: self.frames.swap(0, Ordering::Relaxed),
            bytes: self.bytes.swap(0, Ordering::Relaxed),
            late: self.late.swap(0, Ordering::Relaxed),
            refused: self.refused.swap(0, Ordering::Relaxed),
        }
    }
}
