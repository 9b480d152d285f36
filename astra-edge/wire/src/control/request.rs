//! A request's way to a member and back.
//!
//! `f32` values travel as little-endian bytes: [`pack`](crate::pack) and [`unpack_into`](crate::unpack_into)
//! with 32 bits write and read them.

use serde::{Deserialize, Serialize};

use super::{ControlError, check_floats, check_member, octets};

/// A request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start<'a> {
    /// The plan.
    pub plan: u64,
    /// Its epoch.
    pub epoch: u16,
    /// The request, sent in every code frame.
    pub request: u32,
    /// Milliseconds until the answer is due.
    pub deadline_ms: u32,
    /// Whether the input was compressed without loss.
    pub lossless: bool,
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
pub struct Stats {
    /// Microseconds of processor time of the computing thread that [`compute_us`](Self::compute_us) has no part in, from the first
    /// step to the last: the codec, frames, going to wait.
    pub own_us: u32,
    /// Microseconds of making tokens of the input and running blocks.
    pub compute_us: u32,
    /// Microseconds of encoding, sending and decoding codes.
    pub encode_us: u32,
    /// Microseconds of waiting for the codes of others.
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
    /// Frames that came after their block had gone on.
    pub late_frames: u32,
    /// Frames that could not be used: malformed, too early, of another plan or rung.
    pub refused_frames: u32,
    /// Bytes of [`Halo`] sent.
    pub halo_bytes: u64,
}

/// How dense features travel. The order is the number on the wire: new ones go last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Encoding {
    /// Exact `f32` values; there are no scales.
    Float32,
    /// One byte a channel: how many of the token's steps it is above its smallest value. Both are scales.
    Scaled8,
    /// One byte a score, [`MemberResult::features`] being scores of the member's part of a map: its sigmoid in steps of 1/256, taken at
    /// the middle of a step. There are no scales.
    Sigmoid8,
    /// Four bits a channel, else as [`Self::Scaled8`]: packed as codes are, each token in whole bytes.
    Scaled4,
    /// The same as [`Self::Sigmoid8`], compressed without loss as WIRE.md says. There are no scales.
    Sigmoid8Deflated,
}

impl Encoding {
    /// Encodings there are.
    pub const COUNT: usize = 5;
}

/// A member's share of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberResult<'a> {
    /// The plan.
    pub plan: u64,
    /// The request.
    pub request: u32,
    /// The member.
    pub member: u8,
    /// What it cost.
    pub stats: Stats,
    /// How `features` are to be read.
    pub encoding: Encoding,
    /// The member's copy of the class token: `f32`.
    #[serde(borrow, with = "octets")]
    pub cls: &'a [u8],
    /// Dense features of the member's tokens, token by token; empty where none are wanted.
    #[serde(borrow, with = "octets")]
    pub features: &'a [u8],
    /// Two `f32` a token in [`Encoding::Scaled8`] and [`Encoding::Scaled4`], its smallest value and its step; else empty.
    #[serde(borrow, with = "octets")]
    pub scales: &'a [u8],
}

/// Features of tokens that another member's rows of a map border on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halo<'a> {
    /// The plan.
    pub plan: u64,
    /// The request.
    pub request: u32,
    /// The member whose tokens they are.
    pub member: u8,
    /// The first of them.
    pub first_token: u16,
    /// How `features` are to be read.
    pub encoding: Encoding,
    /// Features, token by token.
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

impl Halo<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_member(self.member)?;
        check_features(self.encoding, self.features, self.scales)
    }
}

fn check_features(encoding: Encoding, features: &[u8], scales: &[u8]) -> Result<(), ControlError> {
    check_floats("scales", scales)?;
    let (bytes, scales) = (features.len(), scales.len() / 4);
    let fit = match encoding {
        Encoding::Float32 => {
            check_floats("features", features)?;
            scales == 0
        }
        // No scales go with no features; those of a token with at least one byte.
        Encoding::Scaled8 | Encoding::Scaled4 => {
            scales.is_multiple_of(2)
                && bytes.is_multiple_of(scales / 2)
                && (bytes > 0 || scales == 0)
        }
        Encoding::Sigmoid8 => scales == 0,
        Encoding::Sigmoid8Deflated => scales == 0 && bytes > 0,
    };
    if fit {
        return Ok(());
    }
    let features = bytes;
    Err(ControlError::Features { features, scales })
}
