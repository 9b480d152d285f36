//! Time and bytes of a member's part of a request.

use std::time::Duration;

use astra_wire::MemberStats;

use crate::gather::ReceiveStats;

/// Time and bytes of a member's part of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobStats {
    /// Wall time on this member.
    pub total: Duration,
    /// Wall time of `embed`, `local`, `attend` and `mlp`.
    pub compute: Duration,
    /// Wall time of encoding, packing and sending, which blocks while the link's queue is full.
    pub encode: Duration,
    /// Wall time of decoding codes into `remote`.
    pub decode: Duration,
    /// Wall time of waiting for codes of other members.
    pub wait: Duration,
    /// Processor time of this thread outside of `compute`: codec, frames and system calls.
    pub overhead: Duration,
    /// Frames given to the link, each counted once for all receivers.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Bytes of codes and positions in them; the others are headers.
    pub code_bytes_sent: u64,
    /// Frames the link did not accept.
    pub frames_lost: u64,
    /// Frames and bytes from other members.
    pub received: ReceiveStats,
    /// Tokens that did not arrive in time, summed over the blocks: left out of attention, or replaced by their prediction where the codec
    /// predicts.
    pub masked_tokens: u64,
}

impl JobStats {
    /// The same as messages have it; each frame is sent to `receivers` members.
    pub fn member_stats(&self, receivers: usize) -> MemberStats {
        let copies = receivers as u64;
        MemberStats {
            overhead_us: microseconds(self.overhead),
            compute_us: microseconds(self.compute),
            encode_us: microseconds(self.encode + self.decode),
            wait_us: microseconds(self.wait),
            bytes_sent: self.bytes_sent * copies,
            bytes_received: self.received.bytes,
            halo_bytes: 0,
            code_bytes: self.code_bytes_sent * copies,
            frames_sent: count(self.frames_sent * copies),
            frames_received: count(self.received.frames),
            masked_tokens: count(self.masked_tokens),
            late_frames: count(self.received.late),
            refused_frames: count(self.received.refused),
        }
    }
}

/// A time as reports and messages have it.
pub(crate) fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
