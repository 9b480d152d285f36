//! A member's share of the answer, as it is sent to the coordinator.

use astra_wire::{MemberResult, MemberStats};

use crate::cluster::member::encoding::{Coded, DenseError, Packed};
use astra_model::tasks::features::{read_exact, write_exact};
use astra_model::tasks::lossless::Lines;

/// One member's share of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Share {
    /// Its copy of the class tokens after the final norm, `[c * D]`; of a text its part of the embedding, `[D]`.
    pub cls: Vec<f32>,
    /// Its tokens after the final norm, `[t, D]`; empty where there are scores.
    pub features: Vec<f32>,
    /// Scores of its rows of a map where members share the head, `[rows * scale, columns * scale]`.
    pub scores: Option<Vec<f32>>,
}

/// An encoded share.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedShare {
    cls: Vec<u8>,
    dense: Packed,
}

/// What a share is expected to hold besides class tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dense {
    /// Features: the number of tokens.
    Features(usize),
    /// Scores of a map: their number and layout.
    Scores(usize, Lines),
}

/// Why a share cannot be packed or read.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum ShareError {
    /// Features or scores cannot be packed or read.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// The class token has another length.
    #[error("class token: found {found} bytes, expected {expected}")]
    Class {
        /// Bytes found.
        found: usize,
        /// Bytes of the model's class token.
        expected: usize,
    },
}

impl PackedShare {
    /// Encodes a share of tokens `hidden` wide; scores, laid out as `lines` say, replace the features where there are any.
    ///
    /// # Errors
    /// A value is not finite, or the number of features is not a multiple of `hidden`.
    pub fn new(
        share: &Share,
        hidden: usize,
        lines: Lines,
        exact: bool,
    ) -> Result<Self, ShareError> {
        let mut cls = Vec::new();
        write_exact(&share.cls, &mut cls);
        let dense = match &share.scores {
            Some(scores) => Packed::scores(scores, lines, exact)?,
            None => Packed::features(&share.features, hidden, exact)?,
        };
        Ok(Self { cls, dense })
    }

    /// As a message.
    pub fn message(
        &self,
        plan: u64,
        request: u32,
        member: u8,
        stats: MemberStats,
    ) -> MemberResult<'_> {
        MemberResult {
            plan,
            request,
            member,
            stats,
            encoding: self.dense.encoding,
            cls: &self.cls,
            features: &self.dense.values,
            scales: &self.dense.scales,
        }
    }
}

/// Decodes a member's share of tokens `hidden` wide with `class` values of class tokens.
///
/// # Errors
/// The lengths differ from these.
pub fn unpack(
    result: &MemberResult<'_>,
    dense: Dense,
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
        ..Share::default()
    };
    read_exact(result.cls, class.max(1), &mut share.cls).map_err(DenseError::from)?;
    let coded = Coded {
        encoding: result.encoding,
        values: result.features,
        scales: result.scales,
    };
    match dense {
        Dense::Features(tokens) => share.features = coded.features(tokens, hidden)?,
        Dense::Scores(count, lines) => share.scores = Some(coded.scores(count, lines)?),
    }
    Ok(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: Lines = Lines {
        columns: 2,
        patch: 1,
    };

    fn share() -> Share {
        Share {
            cls: vec![1.5, -2.0],
            features: vec![0.0, 1.0, -3.0, 5.0, 7.0, 7.0],
            scores: None,
        }
    }

    #[test]
    fn shares_come_back() {
        let packed = PackedShare::new(&share(), 2, LINES, true).unwrap();
        let message = packed.message(1, 2, 3, MemberStats::default());
        astra_wire::Control::Result(message).check().unwrap();
        assert_eq!(unpack(&message, Dense::Features(3), 2, 2), Ok(share()));

        let scores = Share {
            features: Vec::new(),
            scores: Some(vec![0.5, -1.0]),
            ..share()
        };
        let packed = PackedShare::new(&scores, 2, LINES, true).unwrap();
        let message = packed.message(1, 2, 3, MemberStats::default());
        assert_eq!(unpack(&message, Dense::Scores(2, LINES), 2, 2), Ok(scores));
    }

    #[test]
    fn shares_of_another_length_are_refused() {
        for exact in [false, true] {
            let packed = PackedShare::new(&share(), 2, LINES, exact).unwrap();
            let message = packed.message(1, 2, 3, MemberStats::default());
            astra_wire::Control::Result(message).check().unwrap();
            let other = unpack(&message, Dense::Features(2), 2, 2);
            assert!(matches!(other, Err(ShareError::Dense(_))));
            let other = unpack(&message, Dense::Features(3), 2, 3);
            assert!(matches!(other, Err(ShareError::Class { .. })));
        }
    }
}
