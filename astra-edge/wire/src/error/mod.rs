//! What can be wrong with received bytes, and with what is to be sent.

mod control;
mod frame;
mod layout;

use thiserror::Error;

pub use self::control::ControlError;
pub use self::frame::{HeaderError, MismatchError, PositionError};
pub use self::layout::LayoutError;
use crate::bits::{PackError, UnpackError};
use crate::flags::Flags;
use crate::limits::MAX_BODY;
use crate::version::VERSION;

/// Received bytes that are not a frame or message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// Written in a version this device does not read.
    #[error("wire version: found {found}, expected {min} to {max}")]
    Version {
        /// The first byte.
        found: u8,
        /// Oldest version read.
        min: u8,
        /// Newest version read.
        max: u8,
    },
    /// The bytes end too early.
    #[error("truncated")]
    Truncated,
    /// More bytes than a code frame has.
    #[error("code frame: found {found} bytes, expected at most {MAX_BODY}")]
    TooLong {
        /// Bytes received.
        found: usize,
    },
    /// A kind of message that has no meaning here.
    #[error(
        "message kind: found {found:#04x}, expected one of version {VERSION} that belongs here"
    )]
    Kind {
        /// The second byte.
        found: u8,
    },
    /// Flags without a meaning.
    #[error("flags: found {found:#04x}, expected none but {:#04x}", Flags::KNOWN)]
    Flags {
        /// All flags of the frame.
        found: u8,
    },
    /// A value that its type does not have: an endless varint, a bool other than 0 or 1, text that is not
    /// UTF-8, an unknown enum value, a list or text longer than its bound.
    #[error("malformed: {0}")]
    Malformed(postcard::Error),
    /// A varint that could have been shorter. Each message has one encoding.
    #[error("a varint is not in its shortest form")]
    NotShortest,
    /// Bytes after the end of a control message.
    #[error("{found} bytes after the end of the message")]
    Trailing {
        /// Bytes too many.
        found: usize,
    },
    /// A code frame's header contradicts itself.
    #[error("code frame: {0}")]
    Header(#[from] HeaderError),
    /// A code frame does not belong to the rung in use.
    #[error("code frame: {0}")]
    Mismatch(#[from] MismatchError),
    /// A code frame's codes are not what its header announces.
    #[error("code frame: {0}")]
    Codes(#[from] UnpackError),
    /// A code frame's refined tokens are in no order, or not in the frame.
    #[error("code frame: {0}")]
    Position(#[from] PositionError),
    /// The slot for a frame's codes has another size.
    #[error("slot: found {found} codes, expected {expected}")]
    Slot {
        /// Codes the slot holds.
        found: usize,
        /// Codes in the frame.
        expected: usize,
    },
    /// A control message contradicts itself.
    #[error("control message: {0}")]
    Control(#[from] ControlError),
}

impl From<postcard::Error> for FrameError {
    fn from(error: postcard::Error) -> Self {
        match error {
            postcard::Error::DeserializeUnexpectedEnd => Self::Truncated,
            other => Self::Malformed(other),
        }
    }
}

/// A frame or message that cannot be sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// A version this crate does not write.
    #[error("wire version to write: found {found}, expected {min} to {max}")]
    Version {
        /// The version requested.
        found: u8,
        /// Oldest version written.
        min: u8,
        /// Newest version written.
        max: u8,
    },
    /// The output buffer is too short.
    #[error("buffer: found {found} bytes, expected {needed}")]
    Room {
        /// Bytes in the buffer.
        found: usize,
        /// Bytes the frame or message takes.
        needed: usize,
    },
    /// The number of codes is not what the header and layout say.
    #[error("codes: found {found}, expected {expected}")]
    Codes {
        /// Codes given.
        found: usize,
        /// Tokens times codes of a token.
        expected: usize,
    },
    /// The number of refined tokens is not what the layout says.
    #[error("refined tokens: found {found}, expected {expected}")]
    Positions {
        /// Positions given.
        found: usize,
        /// Sum over the frames.
        expected: usize,
    },
    /// The number of second-stage codes is not what the layout says.
    #[error("second-stage codes: found {found}, expected {expected}")]
    RefinedCodes {
        /// Codes given.
        found: usize,
        /// Refined tokens times their codes.
        expected: usize,
    },
    /// The length of the means is not what the layout says.
    #[error("means of the frames: found {found} bytes, expected {expected}")]
    Means {
        /// Bytes given.
        found: usize,
        /// Sum over the frames.
        expected: usize,
    },
    /// The refined tokens are in no order, or not in the frame.
    #[error("code frame: {0}")]
    Position(#[from] PositionError),
    /// The header contradicts itself.
    #[error("code frame: {0}")]
    Header(#[from] HeaderError),
    /// The header does not belong to the layout.
    #[error("code frame: {0}")]
    Mismatch(#[from] MismatchError),
    /// The codes do not fit their bits.
    #[error("code frame: {0}")]
    Pack(#[from] PackError),
    /// The control message contradicts itself.
    #[error("control message: {0}")]
    Control(#[from] ControlError),
}
