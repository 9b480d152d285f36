//! Progress of the data path, which decides what frames are accepted.

use astra_wire::FrameError;

/// Requests ahead of the next whose codes are buffered while no request is running. A member receives all requests of a plan, but for
/// some that were cancelled before they reached it. Codes of any later request would hide those of all requests before it.
pub(super) const WINDOW: u32 = 64;

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

    /// Checks that codes of a block are still needed and have one of `depth` slots. While no request is running, codes of the next
    /// [`WINDOW`] requests, of `blocks` blocks each, are accepted: other members may have started the next request first.
    pub(super) fn check(
        self,
        sequence: u64,
        depth: u64,
        blocks: u64,
    ) -> Result<(), FrameRejection> {
        let Some(ahead) = sequence.checked_sub(self.sequence) else {
            return Err(FrameRejection::Late);
        };
        let most = match self.running {
            true => depth,
            false => u64::from(WINDOW) * blocks,
        };
        if ahead >= most {
            return Err(FrameRejection::Early);
        }
        Ok(())
    }

    /// The request that begins next, of requests of `blocks` blocks each.
    pub(super) fn next_request(self, blocks: u64) -> u64 {
        self.sequence.div_ceil(blocks.max(1))
    }
}
