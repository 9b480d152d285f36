//! A member's share of the answer on its way back to the coordinator.

use std::time::Duration;

use astra_bundle::TextPooling;
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

/// A member's share of a text's vector: the sum of its tokens' features, [D], or those of the first token where it owns it,
/// else nothing. `features` are [t, D].
pub fn pooled(
    pooling: TextPooling,
    range: TokenRange,
    features: &[f32],
    hidden: usize,
) -> Vec<f32> {
    match pooling {
        TextPooling::Cls if range.first == 0 => features.get(..hidden).unwrap_or_default().to_vec(),
        TextPooling::Cls => Vec::new(),
        TextPooling::Mean => {
            let mut sums = vec![0.0_f64; hidden];
            for row in features.chunks_exact(hidden.max(1)) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += f64::from(*value);
                }
            }
            sums.into_iter().map(|sum| sum as f32).collect()
        }
    }
}

/// A text's vector from the members' shares, with the tokens each owns: their mean, or the one there is, of length 1 if
/// `normalize`. `None` if nothing came that makes one.
pub fn vector(
    pooling: TextPooling,
    normalize: bool,
    shares: &[(usize, Vec<f32>)],
    hidden: usize,
) -> Option<Vec<f32>> {
    let mut sums = vec![0.0_f64; hidden];
    let mut count = 0;
    for (tokens, share) in shares.iter().filter(|(_, share)| share.len() == hidden) {
        for (sum, value) in sums.iter_mut().zip(share) {
            *sum += f64::from(*value);
        }
        count += match pooling {
            TextPooling::Mean => *tokens,
            TextPooling::Cls => 1,
        };
    }
    if count == 0 {
        return None;
    }
    let length = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
    let scale = if normalize {
        length.max(f64::MIN_POSITIVE)
    } else {
        count as f64
    };
    Some(sums.into_iter().map(|sum| (sum / scale) as f32).collect())
}

/// What a job cost, as it is reported; each frame goes to `receivers` members.
pub fn stats_of(stats: &JobStats, receivers: usize) -> Stats {
    let copies = receivers as u64;
    Stats {
        embed_us: 0,
        compute_us: microseconds(stats.compute),
        encode_us: microseconds(stats.encode + stats.decode),
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

    #[test]
    fn a_vector_is_the_mean_of_all_tokens_whoever_owns_them() {
        let features = [1.0, 0.0, 3.0, 4.0, 5.0, 5.0];
        let range = |first, tokens| TokenRange { first, tokens };
        let share = |pooling, range: TokenRange| {
            let rows = usize::from(range.first) * 2..range.end() * 2;
            let own = pooled(pooling, range, &features[rows], 2);
            (usize::from(range.tokens), own)
        };
        for split in [&[range(0, 3)][..], &[range(0, 1), range(1, 2)]] {
            let of = |pooling| -> Vec<_> { split.iter().map(|r| share(pooling, *r)).collect() };
            let mean = of(TextPooling::Mean);
            assert_eq!(
                vector(TextPooling::Mean, false, &mean, 2),
                Some(vec![3.0, 3.0])
            );
            let unit = vector(TextPooling::Mean, true, &mean, 2).unwrap();
            assert!((unit[0] - 0.5_f32.sqrt()).abs() < 1e-6, "{unit:?}");
            let first = of(TextPooling::Cls);
            assert_eq!(
                vector(TextPooling::Cls, false, &first, 2),
                Some(vec![1.0, 0.0])
            );
        }
        // Without the first token's owner there is no first token.
        let rest = [share(TextPooling::Cls, range(1, 2))];
        assert_eq!(vector(TextPooling::Cls, false, &rest, 2), None);
        assert_eq!(vector(TextPooling::Mean, true, &[], 2), None);
        let zero = [(3, vec![0.0, 0.0])];
        assert_eq!(
            vector(TextPooling::Mean, true, &zero, 2),
            Some(vec![0.0, 0.0])
        );
    }
}
