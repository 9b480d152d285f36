//! Dense features, as members send them to the coordinator and to each other.

use serde::{Deserialize, Serialize};

use super::checks::{check_floats, check_member};
use super::octets;
use crate::error::ControlError;

/// How dense features are encoded. The order is the number on the wire: new ones go last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Encoding {
    /// Exact `f32` values; there are no scales.
    Float32,
    /// One byte a channel: the number of steps of the token above its smallest value. Both are scales.
    Scaled8,
    /// One byte a score of a map: its sigmoid in steps of 1/256, taken at the middle of a step. There are no scales.
    Sigmoid8,
    /// Four bits a channel, else as [`Self::Scaled8`]: packed as codes are, each token in whole bytes.
    Scaled4,
    /// As [`Self::Sigmoid8`], compressed without loss as WIRE.md specifies. There are no scales.
    Sigmoid8Deflated,
}

impl Encoding {
    /// Number of variants.
    pub const COUNT: usize = 5;
}

/// Features of the tokens next to another member's rows of a map, sent to that member. Answered by
/// [`Control::Ack`](super::Control::Ack).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halo<'a> {
    /// The plan.
    pub plan: u64,
    /// The request.
    pub request: u32,
    /// The member that owns the tokens and sends them.
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

impl Halo<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_member(self.member)?;
        check_features(self.encoding, self.features, self.scales)
    }
}

/// Checks that features and scales have lengths that the encoding allows.
pub(super) fn check_features(
    encoding: Encoding,
    features: &[u8],
    scales: &[u8],
) -> Result<(), ControlError> {
    check_floats("scales", scales)?;
    let (bytes, scales) = (features.len(), scales.len() / 4);
    let fit = match encoding {
        Encoding::Float32 => {
            check_floats("features", features)?;
            scales == 0
        }
        // Without features there are no scales; with features each token has two, and at least one byte.
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
