//! A member's share of the answer on its way back to the coordinator.

use std::time::Duration;

use astra_wire::{Encoding, MemberResult, Stats};

use super::assemble::Share;
use crate::job::JobStats;
use crate::plan::TokenRange;
use crate::tasks::features::{self, FeatureError};

/// Bytes of a token's smallest value and step.
const SCALE: usize = 8;

/// A share as bytes: features at 8 bits a channel, or as they are in exact mode.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    encoding: Encoding,
    cls: Vec<u8>,
    features: Vec<u8>,
    scales: Vec<u8>,
}

/// Why a share cannot be packed or read.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum ShareError {
    /// The features cannot be packed or read.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The class token has another length.
    #[error("class token of {found} bytes: expected {expected}")]
    Class {
        /// Bytes found.
        found: usize,
        /// Bytes of the model's class token.
        expected: usize,
    },
    /// An encoding this version does not know.
    #[error("features in an encoding that this version does not know")]
    Encoding,
}

impl Packed {
    /// Packs a share of tokens `hidden` wide.
    ///
    /// # Errors
    /// A feature is not finite, or the features are no whole number of tokens.
    pub fn new(share: &Share, hidden: usize, exact: bool) -> Result<Self, ShareError> {
        let mut cls = Vec::new();
        features::write_exact(&share.cls, &mut cls);
        let mut packed = Self {
            encoding: Encoding::Float32,
            cls,
            features: Vec::new(),
            scales: Vec::new(),
        };
        if exact {
            features::write_exact(&share.features, &mut packed.features);
            return Ok(packed);
        }
        packed.encoding = Encoding::Scaled8;
        let mut tokens = Vec::new();
        features::quantize(&share.features, hidden, &mut tokens)?;
        for token in tokens.chunks_exact(SCALE + hidden) {
            let (scale, codes) = token.split_at_checked(SCALE).unwrap_or_default();
            packed.scales.extend_from_slice(scale);
            packed.features.extend_from_slice(codes);
        }
        Ok(packed)
    }

    /// As a message.
    pub fn message(&self, plan: u64, request: u32, member: u8, stats: Stats) -> MemberResult<'_> {
        MemberResult {
            plan,
            request,
            member,
            stats,
            encoding: self.encoding,
            cls: &self.cls,
            features: &self.features,
            scales: &self.scales,
        }
    }
}

/// Reads the share of a member that owns `range`; its tokens are `hidden` wide and it has `class` values of class tokens.
///
/// # Errors
/// Lengths are not those of the range.
pub fn unpack(
    result: &MemberResult<'_>,
    range: TokenRange,
    hidden: usize,
    class: usize,
) -> Result<Share, ShareError> {
    if result.cls.len() != class * 4 {
        return Err(ShareError::Class {
            found: result.cls.len(),
            expected: class * 4,
        });
    }
    let mut share = Share {
        cls: vec![0.0; class],
        features: vec![0.0; usize::from(range.tokens) * hidden],
    };
    features::read_exact(result.cls, class.max(1), &mut share.cls)?;
    match result.encoding {
        Encoding::Float32 => {
            features::read_exact(result.features, hidden, &mut share.features)?;
        }
        Encoding::Scaled8 => {
            let tokens = join(result.scales, result.features, hidden);
            features::dequantize(&tokens, hidden, &mut share.features)?;
        }
        _ => return Err(ShareError::Encoding),
    }
    Ok(share)
}

/// Scales and codes back to what `features` reads: each token's scale before its codes. What has no partner stays out, and
/// the length then says so.
fn join(scales: &[u8], codes: &[u8], hidden: usize) -> Vec<u8> {
    let scales = scales.chunks_exact(SCALE);
    let codes = codes.chunks_exact(hidden.max(1));
    let mut tokens = Vec::with_capacity(scales.len() * (SCALE + hidden));
    for (scale, codes) in scales.zip(codes) {
        tokens.extend_from_slice(scale);
        tokens.extend_from_slice(codes);
    }
    tokens
}

/// What a job cost, as it is reported; each frame goes to `receivers` members.
pub fn stats_of(stats: &JobStats, receivers: usize) -> Stats {
    let copies = receivers as u64;
    Stats {
        embed_us: 0,
        compute_us: microseconds(stats.compute + stats.decode),
        encode_us: microseconds(stats.encode),
        wait_us: microseconds(stats.wait),
        bytes_sent: stats.bytes_sent * copies,
        bytes_received: stats.received.bytes,
        frames_sent: count(stats.frames_sent * copies),
        frames_received: count(stats.received.frames),
        masked_tokens: count(stats.masked_tokens),
        late_frames: 0,
        refused_frames: count(stats.received.refused),
    }
}

fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: TokenRange = TokenRange {
        first: 4,
        tokens: 3,
    };

    fn share() -> Share {
        Share {
            cls: vec![1.5, -2.0],
            features: vec![0.0, 1.0, -3.0, 5.0, 7.0, 7.0],
        }
    }

    #[test]
    fn exact_shares_come_back_bit_for_bit() {
        let packed = Packed::new(&share(), 2, true).unwrap();
        let message = packed.message(1, 2, 3, Stats::default());
        astra_wire::Control::Result(message).check().unwrap();
        assert_eq!(unpack(&message, RANGE, 2, 2), Ok(share()));
    }

    #[test]
    fn packed_shares_come_back_within_half_a_step() {
        let packed = Packed::new(&share(), 2, false).unwrap();
        let message = packed.message(1, 2, 3, Stats::default());
        astra_wire::Control::Result(message).check().unwrap();
        assert_eq!(message.features.len(), 6);
        let back = unpack(&message, RANGE, 2, 2).unwrap();
        assert_eq!(back.cls, share().cls);
        for (found, sent) in back.features.iter().zip(share().features) {
            assert!(
                (found - sent).abs() <= 8.0 / 255.0 / 2.0 + 1e-5,
                "{found} for {sent}"
            );
        }
    }

    #[test]
    fn shares_of_another_range_are_refused() {
        for exact in [false, true] {
            let packed = Packed::new(&share(), 2, exact).unwrap();
            let message = packed.message(1, 2, 3, Stats::default());
            let other = TokenRange {
                first: 4,
                tokens: 2,
            };
            assert!(matches!(
                unpack(&message, other, 2, 2),
                Err(ShareError::Features(_))
            ));
            assert!(matches!(
                unpack(&message, RANGE, 2, 3),
                Err(ShareError::Class { .. })
            ));
        }
    }
}
