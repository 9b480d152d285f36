//! Control messages: everything devices say to each other besides codes.
//!
//! # Exchanges
//!
//! 1. Every device publishes [`Hello`]; [`greeting`] reads the part of it that all versions share.
//! 2. A coordinator sends [`Offer`] to each device it wants; each answers [`Control::Accept`] or
//!    [`Control::Refuse`].
//! 3. With all accepted it sends [`Control::Plan`]: each member sends a [`Probe`] on its code key and
//!    answers [`Control::Heard`] with the members it heard. A plan lives on across requests.
//! 4. For each request it sends [`Start`] with the member's part of the input; each member answers
//!    [`MemberResult`], [`Control::Refuse`] or [`Control::Failed`]. [`Control::Cancel`] ends it early.
//! 5. A client sends [`Ask`] to any device and gets [`Answer`] or [`Control::Failed`].
//! 6. A device that goes says [`Control::Leave`].
//! 7. For a text the coordinator sends [`StartText`] in place of [`Start`], and members answer [`MemberResult`]. The member that
//!    generates answers with each [`Control::Token`] as it comes and [`Written`] at the end. For a text that goes on from the one
//!    before, [`Resume`] asks that member alone.
//! 8. Where members make a map together, each sends [`Halo`] to those whose rows border on its own, and gets [`Control::Heard`].
//! 9. A client sends [`AskText`] and gets any number of [`Control::Piece`] and a [`TextAnswer`] or [`Control::Failed`]; to
//!    [`AskVector`] it gets [`Answer`], with the vector in place of the class token.
//!
//! Messages without bulk data fit one frame ([`MAX_BODY`](crate::MAX_BODY)); the others are as long as
//! what they carry: ask [`Control::encoded_len`].

mod ask;
mod hello;
mod ids;
mod octets;
mod offer;
mod request;
mod text;

use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::ask::{Answer, Ask, AskOptions};
pub use self::hello::{DeviceId, Greeting, Hello, greeting};
pub use self::ids::{MAX_ID, pack_ids, unpack_ids};
pub use self::offer::{Member, Offer, Reason};
pub use self::request::{Encoding, Halo, MemberResult, Start, Stats};
pub use self::text::{
    AskText, AskVector, Choice, Ending, Generate, MAX_STOPS, Resume, StartText, TextAnswer, Words,
    Written,
};
use crate::MAX_MEMBERS;
use crate::error::{EmitError, FrameError};
use crate::header::{CODE_MARK, HeaderError, check_version};
use crate::version::VERSION;

/// A control message. The order of the variants is their number on the wire: new ones go last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator to box with; messages are short-lived"
)]
pub enum Control<'a> {
    /// Who a device is.
    Hello(Hello),
    /// A part in a plan.
    Offer(Offer),
    /// The member takes its part.
    Accept {
        /// The plan offered.
        plan: u64,
        /// The member that accepts.
        member: u8,
    },
    /// The device takes no part, or no longer.
    Refuse {
        /// The plan offered, or the one named in the message refused.
        plan: u64,
        /// Why.
        reason: Reason,
    },
    /// Everybody accepted: send a [`Probe`] on your code key and say whom you hear.
    Plan {
        /// The plan.
        plan: u64,
        /// Its epoch.
        epoch: u16,
    },
    /// Answer to [`Control::Plan`].
    Heard {
        /// The plan.
        plan: u64,
        /// Members whose probe arrived: bit `n` for member `n`.
        members: u16,
    },
    /// A sign that the sender's frames arrive. The one control message that travels on a code key.
    Probe(Probe),
    /// A request begins.
    Start(#[serde(borrow)] Start<'a>),
    /// A request is given up.
    Cancel {
        /// The plan.
        plan: u64,
        /// The request.
        request: u32,
    },
    /// A member's share of the answer.
    Result(#[serde(borrow)] MemberResult<'a>),
    /// A client's question.
    Ask(#[serde(borrow)] Ask<'a>),
    /// The answer to [`Ask`].
    Answer(#[serde(borrow)] Answer<'a>),
    /// The question or request could not be answered.
    Failed {
        /// Why, for people.
        text: &'a str,
    },
    /// A device goes.
    Leave {
        /// The device.
        device: DeviceId,
    },
    /// A request begins whose input is text.
    StartText(#[serde(borrow)] StartText<'a>),
    /// A text goes on from the one before.
    Resume(#[serde(borrow)] Resume<'a>),
    /// A token of a generation; many answer one [`StartText`] or [`Resume`].
    Token {
        /// Number of the token in its generation.
        index: u32,
        /// Its id.
        id: u32,
    },
    /// A generation has ended: the last answer.
    Written(Written),
    /// A client's question to go on from a prompt.
    AskText(#[serde(borrow)] AskText<'a>),
    /// A client's question for one vector of a text.
    AskVector(#[serde(borrow)] AskVector<'a>),
    /// More of a text; many answer one [`AskText`].
    Piece {
        /// The text, never half a character.
        text: &'a str,
    },
    /// The end of the answer to [`AskText`].
    TextAnswer(#[serde(borrow)] TextAnswer<'a>),
    /// Features that another member's part of a map needs.
    Halo(#[serde(borrow)] Halo<'a>),
}

/// A sign that the sender's frames arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The plan.
    pub plan: u64,
    /// The member that sends it.
    pub sender: u8,
}

/// A message whose values contradict each other or go beyond their bounds.
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
    #[error("member {index} is the same device as an earlier one")]
    SameDevice {
        /// The later of the two.
        index: u8,
    },
    /// A member's range is empty or ends beyond the last token there can be.
    #[error("member {index}: {source}")]
    Range {
        /// The member.
        index: u8,
        /// What is wrong with its range.
        source: HeaderError,
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
    /// A request or question without anything to work on.
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
    #[error("{features} bytes of features and {scales} scales do not go together")]
    Features {
        /// Bytes of features.
        features: usize,
        /// Scales.
        scales: usize,
    },
    /// Bytes that are no token id.
    #[error("token ids: no shortest varint of 32 bits at byte {at}")]
    Id {
        /// Where it begins.
        at: usize,
    },
    /// A way to choose tokens that is none.
    #[error("{field} is out of its range")]
    Choice {
        /// Field of the message.
        field: &'static str,
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

impl<'a> Control<'a> {
    /// Kinds of message there are: the second byte of a message is below this.
    pub const KINDS: u8 = 23;

    /// Reads one message, which takes all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`FrameError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (&version, rest) = bytes.split_first().ok_or(FrameError::Truncated)?;
        check_version(version)?;
        let &kind = rest.first().ok_or(FrameError::Truncated)?;
        if kind >= Self::KINDS {
            return Err(FrameError::Kind { found: kind });
        }
        let (message, behind) = postcard::take_from_bytes::<Self>(rest)?;
        if !behind.is_empty() {
            return Err(FrameError::Trailing {
                found: behind.len(),
            });
        }
        // A varint that could have been shorter.
        if message.encoded_len() != bytes.len() {
            return Err(FrameError::NotShortest);
        }
        message.check()?;
        Ok(message)
    }

    /// Writes the message to the front of `out` and returns its length.
    ///
    /// # Errors
    ///
    /// [`EmitError::Control`] if the message contradicts itself, [`EmitError::Room`]; the content of
    /// `out` is then unspecified.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        self.check()?;
        let room = EmitError::Room {
            found: out.len(),
            needed: self.encoded_len(),
        };
        let (version, rest) = out.split_first_mut().ok_or(room)?;
        *version = VERSION;
        match postcard::to_slice(self, rest) {
            Ok(written) => Ok(1 + written.len()),
            Err(_) => Err(room),
        }
    }

    /// Bytes the message takes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        // Counting cannot fail; a length no buffer has would be the safe answer.
        postcard::serialize_with_flavor(self, Size::default())
            .map_or(usize::MAX, |length| length.saturating_add(1))
    }

    /// Checks the values against each other.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub fn check(&self) -> Result<(), ControlError> {
        match self {
            Self::Hello(hello) => hello.check(),
            Self::Offer(offer) => offer.check(),
            Self::Accept { member, .. } => check_member(*member),
            Self::Probe(probe) => check_member(probe.sender),
            Self::Start(start) => start.check(),
            Self::Result(result) => result.check(),
            Self::Ask(ask) => ask.check(),
            Self::Answer(answer) => answer.check(),
            Self::StartText(start) => start.check(),
            Self::Resume(resume) => resume.check(),
            Self::Written(written) => written.check(),
            Self::AskText(ask) => ask.check(),
            Self::AskVector(ask) => ask.check(),
            Self::Halo(halo) => halo.check(),
            Self::Refuse { .. }
            | Self::Plan { .. }
            | Self::Heard { .. }
            | Self::Cancel { .. }
            | Self::Failed { .. }
            | Self::Leave { .. }
            | Self::Token { .. }
            | Self::Piece { .. }
            | Self::TextAnswer(_) => Ok(()),
        }
    }
}

// Kinds and code frames share the second byte.
const _: () = assert!(Control::KINDS <= CODE_MARK);

fn check_member(found: u8) -> Result<(), ControlError> {
    if usize::from(found) < MAX_MEMBERS {
        return Ok(());
    }
    Err(ControlError::Member {
        found,
        max: MAX_MEMBERS,
    })
}

fn check_floats(field: &'static str, bytes: &[u8]) -> Result<(), ControlError> {
    if bytes.len().is_multiple_of(4) {
        return Ok(());
    }
    Err(ControlError::Floats {
        field,
        found: bytes.len(),
    })
}
