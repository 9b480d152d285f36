//! Counting what comes in.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was received over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Frames, also those not used.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames not used: late, early, of another plan, or damaged.
    pub refused: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    /// A message of so many frames, some of them refused.
    pub(super) fn message(&self, bytes: usize, frames: u64, refused: u64) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.frames.fetch_add(frames, Ordering::Relaxed);
        if refused > 0 {
            self.refused.fetch_add(refused, Ordering::Relaxed);
        }
    }

    pub(super) fn take(&self) -> Received {
        Received {
            frames: self.frames.swap(0, Ordering::Relaxed),
            bytes: self.bytes.swap(0, Ordering::Relaxed),
            refused: self.refused.swap(0, Ordering::Relaxed),
        }
    }
}
