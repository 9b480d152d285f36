//! Counting what comes in.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was received over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Frames, also those not used.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that came when their block was over.
    pub late: u64,
    /// Frames not used for another reason: early, of another plan, or damaged.
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
    /// What one message brought.
    pub(super) fn add(&self, message: &Received) {
        for (sum, news) in [
            (&self.frames, message.frames),
            (&self.bytes, message.bytes),
            (&self.late, message.late),
            (&self.refused, message.refused),
        ] {
            if news > 0 {
                sum.fetch_add(news, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn take(&self) -> Received {
        Received {
            frames: self.frames.swap(0, Ordering::Relaxed),
            bytes: self.bytes.swap(0, Ordering::Relaxed),
            late: self.late.swap(0, Ordering::Relaxed),
            refused: self.refused.swap(0, Ordering::Relaxed),
        }
    }
}
