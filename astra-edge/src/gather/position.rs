//! Which frames still have, or already have, a place to wait in.

use astra_wire::FrameError;

/// Why a frame is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("from another plan, or of no block or range of this one")]
    Foreign,
    #[error("for a block that is over")]
    Late,
    #[error("for a block too far ahead")]
    Early,
}

/// Where the data path is, in blocks over the life of the plan.
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

    /// Whether codes of that block can still be used, and have one of `depth` slots. While no request runs here, whatever is ahead is
    /// taken: the others may have been told to start before we were.
    pub(super) fn check(self, sequence: u64, depth: u64) -> Result<(), Refused> {
        if sequence < self.sequence {
            return Err(Refused::Late);
        }
        if self.running && sequence - self.sequence >= depth {
            return Err(Refused::Early);
        }
        Ok(())
    }
}
