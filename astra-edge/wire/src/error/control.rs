//! What can be wrong with the values of a control message.

use thiserror::Error;

use crate::token_range::RangeError;

/// A message whose values contradict each other or exceed their bounds.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlError {
    /// No such member.
    #[error("member: found {found}, expected below {max}")]
    Member {
        /// The member named.
        found: u8,
        /// Members there are.
        max: usize,
    },
    /// A hello whose versions are the wrong way round or 0.
    #[error("versions: found {min} to {max}, expected a range")]
    Versions {
        /// Oldest.
        min: u8,
        /// Newest.
        max: u8,
    },
    /// An offer has at least one member.
    #[error("members: found none, expected at least one")]
    NoMembers,
    /// The same device is two members.
    #[error("member {index}: found the device of an earlier member, expected another")]
    SameDevice {
        /// The later of the two.
        index: u8,
    },
    /// A member's range is empty or ends after the last token there can be.
    #[error("member {index}: {source}")]
    Range {
        /// The member.
        index: u8,
        /// What is wrong with its range.
        source: RangeError,
    },
    /// Ranges follow each other without gap or overlap.
    #[error(
        "first token of member {index}: found {found}, expected {expected}, where the one before ends"
    )]
    NotContiguous {
        /// The member.
        index: u8,
        /// Its first token.
        found: u16,
        /// Where the range before it ends.
        expected: u32,
    },
    /// A request without input.
    #[error("input: found no bytes, expected some")]
    NoInput,
    /// Bytes of `f32` values come in fours.
    #[error("{field}: found {found} bytes, expected a multiple of 4")]
    Floats {
        /// Field of the message.
        field: &'static str,
        /// Its length.
        found: usize,
    },
    /// Scaled features come with two scales a token, and others with none.
    #[error(
        "features: found {features} bytes and {scales} scales, expected what the encoding takes"
    )]
    Features {
        /// Bytes of features.
        features: usize,
        /// Scales.
        scales: usize,
    },
    /// Bytes that are not a token id.
    #[error("token ids: no shortest varint of 32 bits at byte {at}")]
    Id {
        /// Where it begins.
        at: usize,
    },
    /// A sampling parameter out of its range.
    #[error("{field}: found a value out of range, expected {expected}")]
    Sampling {
        /// Field of the message.
        field: &'static str,
        /// Values it can have.
        expected: &'static str,
    },
    /// A map is as large as its sides say.
    #[error("map: found {found} bytes, expected {expected}")]
    Map {
        /// Bytes of the map.
        found: usize,
        /// Width times height times 4.
        expected: u64,
    },
}
