//! Progress of the data path, which decides what frames are accepted.

use astra_wire::FrameError;

/// Why a frame is dropped.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameRejection {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("of another plan, or of a block or range that this plan does not have")]
    Foreign,
    #[error("of a block that is done")]
    Late,
    #[error("of a block too far ahead")]
    Early,
    #[error("of a token or member without a slot")]
    NoSlot,
}

/// The next block the data path gathers, numbered over all requests of the plan, and whether a request is running.
#[derive(Clone, Copy)]
pub(super) struct Position {
    sequence: u64,
    running: bool,
}

impl Position {
    pub(super) const IDLE_AT_START: u64 = 0;

    pub(super) fn idle(sequence: u64) -> Self {
        Self {
            sequence,
            running: false,
        }
    }

    pub(super) fn running(sequence: u64) -> Self {
        Self {
            sequence,
            running: true,
        }
    }

    pub(super) fn pack(self) -> u64 {
        self.sequence << 1 | u64::from(self.running)
    }

    pub(super) fn unpack(word: u64) -> Self {
        Self {
            sequence: word >> 1,
            running: word & 1 != 0,
        }
    }

    /// Checks that codes of a block are still needed and have one of `depth` slots. While no request is running, codes of all later
    /// blocks are accepted: other members may have started the next request first.
    pub(super) fn check(self, sequence: u64, depth: u64) -> Result<(), FrameRejection> {
        if sequence < self.sequence {
            return Err(FrameRejection::Late);
        }
        if self.running && sequence - self.sequence >= depth {
            return Err(FrameRejection::Early);
        }
        Ok(())
    }
}
