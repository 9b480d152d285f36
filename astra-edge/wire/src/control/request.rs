//! A request on its way to a member and back.
//!
//! `f32` values travel as little-endian bytes: [`pack`](crate::pack) and [`unpack_into`](crate::unpack_into) with 32 bits write and
//! read them.

use serde::{Deserialize, Serialize};

use super::checks::{check_floats, check_member};
use super::features::{Encoding, check_features};
use super::octets;
use crate::error::ControlError;

/// Starts a request whose input is an image on a member. Answered by [`MemberResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start<'a> {
    /// The plan.
    pub plan: u64,
    /// Its epoch.
    pub epoch: u16,
    /// The request, sent in every code frame.
    pub request: u32,
    /// Milliseconds until the result is due.
    pub deadline_ms: u32,
    /// The member's part of the input.
    #[serde(borrow, with = "octets")]
    pub input: &'a [u8],
}

impl Start<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        if self.input.is_empty() {
            return Err(ControlError::NoInput);
        }
        Ok(())
    }
}

/// What one request cost a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStats {
    /// Microseconds of processor time of the compute thread, from the first step to the last, that are not part of
    /// [`compute_us`](Self::compute_us): the codec, frames, starting to wait.
    pub overhead_us: u32,
    /// Microseconds of embedding the input and running blocks.
    pub compute_us: u32,
    /// Microseconds of encoding, sending and decoding codes.
    pub encode_us: u32,
    /// Microseconds of waiting for codes of other members.
    pub wait_us: u32,
    /// Bytes of code frames sent, counted once for each receiver.
    pub bytes_sent: u64,
    /// Bytes of code frames received.
    pub bytes_received: u64,
    /// Code frames sent, counted once for each receiver.
    pub frames_sent: u32,
    /// Code frames received.
    pub frames_received: u32,
    /// Tokens whose codes did not come in time, added up over blocks.
    pub masked_tokens: u32,
    /// Frames that came after their block was computed.
    pub late_frames: u32,
    /// Frames that could not be used: malformed, too early, of another plan or rung.
    pub refused_frames: u32,
    /// Bytes of [`Halo`](super::Halo) sent.
    pub halo_bytes: u64,
    /// Bytes of codes and positions in the code frames sent, once for each receiver: the others are headers.
    pub code_bytes: u64,
}

/// A member's part of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberResult<'a> {
    /// The plan.
    pub plan: u64,
    /// The request.
    pub request: u32,
    /// The member.
    pub member: u8,
    /// What it cost.
    pub stats: MemberStats,
    /// How `features` are to be read.
    pub encoding: Encoding,
    /// The member's copy of the class token: `f32`. For an embedding, its part of the pooled vector.
    #[serde(borrow, with = "octets")]
    pub cls: &'a [u8],
    /// Dense features of the member's tokens, token by token, or scores of its part of a map; empty where neither is used.
    #[serde(borrow, with = "octets")]
    pub features: &'a [u8],
    /// Two `f32` a token in [`Encoding::Scaled8`] and [`Encoding::Scaled4`], its smallest value and its step; else empty.
    #[serde(borrow, with = "octets")]
    pub scales: &'a [u8],
}

impl MemberResult<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_member(self.member)?;
        check_floats("cls", self.cls)?;
        check_features(self.encoding, self.features, self.scales)
    }
}
