//! Control messages: every message but code frames.
//!
//! # Exchanges
//!
//! 1. A device answers every query for its hello with [`Hello`], written in the newest version that both read, or with
//!    [`HelloPrefix`] where there is none.
//! 2. A coordinator sends [`Offer`] to each device it wants; each answers [`Control::Accept`] or
//!    [`Control::Refuse`].
//! 3. With all accepted it sends [`Control::Probe`]: each member publishes a [`ProbeFrame`] on its code key and answers
//!    [`Control::ProbeReply`] with the members whose probe frames arrived. A plan serves any number of requests.
//! 4. For each request it sends [`Start`] with the member's part of the input; each member answers
//!    [`MemberResult`], [`Control::Refuse`] or [`Control::Failed`]. [`Control::Cancel`] ends it early, answered by [`Control::Ack`].
//! 5. Where members compute a map together, each sends [`Halo`] to those whose rows border on its own, answered by [`Control::Ack`].
//! 6. For a text the coordinator sends [`StartText`] in place of [`Start`]. The member that generates answers with any number of
//!    [`Control::Token`] and then [`Finished`]. [`Resume`] requests that one device generates from its KV cache, without a plan.
//! 7. A client sends [`ImageRequest`] or [`EmbeddingRequest`] to any device and gets [`InferenceResponse`]; for
//!    [`GenerationRequest`] it gets any number of [`Control::TextDelta`] and then [`GenerationResponse`]. Each can be
//!    [`Control::Failed`] instead.
//! 8. A device that leaves sends [`Control::Leave`] to all; it has no answer.
//!
//! A response is written in the version of its request. Messages without bulk data fit one frame ([`MAX_BODY`]);
//! the others are as long as what they carry: see [`Control::encoded_len`].

mod checks;
mod client;
mod features;
mod generation;
mod hello;
mod ids;
mod octets;
mod offer;
mod request;

use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};

use self::checks::check_member;
pub use self::client::{
    EmbeddingRequest, GenerationRequest, GenerationResponse, ImageRequest, InferenceResponse,
    MAX_STOP_STRINGS, Prompt, RequestOptions,
};
pub use self::features::{Encoding, Halo};
pub use self::generation::{
    FinishReason, Finished, GenerationParams, GenerationStats, Resume, SamplingParams, StartText,
};
pub use self::hello::{DeviceId, Hello, HelloPrefix};
pub use self::ids::{MAX_ID, pack_ids, unpack_ids};
pub use self::offer::{Member, Offer, ProbeFrame, Reason};
pub use self::request::{MemberResult, MemberStats, Start};
use crate::error::{ControlError, EmitError, FrameError};
use crate::header::{CODE_MARK, check_received_version, check_version_to_write};
use crate::limits::{MAX_BODY, MAX_TOKENS, SECRET};

/// A control message. The order of the variants is their number on the wire: new ones go last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator to box with; messages are short-lived"
)]
pub enum Control<'a> {
    /// Identity of a device.
    Hello(Hello),
    /// Offers a device a part in a plan.
    Offer(Offer),
    /// The answer to [`Offer`]: the device takes its part.
    Accept {
        /// The plan offered.
        plan: u64,
        /// The recipient's number in it.
        member: u8,
    },
    /// The device does not do what a message requests.
    Refuse {
        /// The plan that the message names, 0 where it could not be read.
        plan: u64,
        /// Why.
        reason: Reason,
    },
    /// Requests that a member publishes a [`ProbeFrame`] and replies with the members whose probe frames it received.
    Probe {
        /// The plan.
        plan: u64,
        /// Its epoch.
        epoch: u16,
    },
    /// The answer to [`Control::Probe`].
    ProbeReply {
        /// The plan.
        plan: u64,
        /// Members whose probe frames arrived so far: bit `n` for member `n`.
        received: u16,
    },
    /// Shows that code frames of the sender arrive. The one control message that travels on a code key.
    ProbeFrame(ProbeFrame),
    /// Starts a request whose input is an image on a member.
    Start(#[serde(borrow)] Start<'a>),
    /// Ends a request early. Answered by [`Control::Ack`].
    Cancel {
        /// The plan.
        plan: u64,
        /// The request.
        request: u32,
        /// That of the [`Offer`] or [`Resume`]; a device ignores the message otherwise.
        secret: [u8; SECRET],
    },
    /// A member's part of the result.
    Result(#[serde(borrow)] MemberResult<'a>),
    /// A client's request to infer from an image.
    ImageRequest(#[serde(borrow)] ImageRequest<'a>),
    /// The response to [`ImageRequest`] and [`EmbeddingRequest`].
    InferenceResponse(#[serde(borrow)] InferenceResponse<'a>),
    /// A request failed.
    Failed {
        /// Why, for people.
        text: &'a str,
    },
    /// A device leaves the cluster.
    Leave {
        /// The device.
        device: DeviceId,
    },
    /// Starts a request whose input is text on a member.
    StartText(#[serde(borrow)] StartText<'a>),
    /// Continues a text that is in a device's KV cache.
    Resume(#[serde(borrow)] Resume<'a>),
    /// A generated token: one of the answers to [`StartText`] or [`Resume`].
    Token {
        /// Number of the token in its generation, from 0.
        index: u32,
        /// Its id.
        id: u32,
    },
    /// A generation has ended: the last answer to [`StartText`] or [`Resume`].
    Finished(Finished),
    /// A client's request to continue a prompt.
    GenerationRequest(#[serde(borrow)] GenerationRequest<'a>),
    /// A client's request for the embedding of a text.
    EmbeddingRequest(#[serde(borrow)] EmbeddingRequest<'a>),
    /// More of a generated text: one of the responses to [`GenerationRequest`].
    TextDelta {
        /// The text, which never ends within a character.
        text: &'a str,
    },
    /// The end of the response to [`GenerationRequest`].
    GenerationResponse(#[serde(borrow)] GenerationResponse<'a>),
    /// Features that another member's part of a map needs.
    Halo(#[serde(borrow)] Halo<'a>),
    /// The answer to [`Control::Cancel`] and [`Halo`]: the message was processed.
    Ack {
        /// The plan that the message names.
        plan: u64,
        /// The request that it names.
        request: u32,
    },
}

impl<'a> Control<'a> {
    /// Number of kinds: the second byte of a message is below this.
    pub const KINDS: u8 = 24;

    /// Most bytes of a request or message of a kind, which a receiver checks before it reads any more of it. Answers have no such
    /// limit: who waits for one knows how long it can be.
    #[must_use]
    pub const fn max_len(kind: u8) -> usize {
        match kind {
            // start, halo
            7 | 22 => 8 << 20,
            // image request
            10 => (48 << 20) + 4096,
            // start text, resume: an id for each token that there can be
            14 | 15 => MAX_TOKENS as usize * MAX_ID + 256,
            // generation request, embedding request
            18 | 19 => 4 << 20,
            _ => MAX_BODY,
        }
    }

    /// Reads one message, which takes all of `bytes`. Its version is the first byte.
    ///
    /// # Errors
    ///
    /// [`FrameError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (&version, rest) = bytes.split_first().ok_or(FrameError::Truncated)?;
        check_received_version(version)?;
        let &kind = rest.first().ok_or(FrameError::Truncated)?;
        if kind >= Self::KINDS {
            return Err(FrameError::Kind { found: kind });
        }
        let (message, after) = postcard::take_from_bytes::<Self>(rest)?;
        if !after.is_empty() {
            return Err(FrameError::Trailing { found: after.len() });
        }
        // A varint that could have been shorter.
        if message.encoded_len() != bytes.len() {
            return Err(FrameError::NotShortest);
        }
        message.check()?;
        Ok(message)
    }

    /// Writes the message in `version` to the front of `out` and returns its length.
    ///
    /// # Errors
    ///
    /// [`EmitError::Version`] for a version this crate does not write, [`EmitError::Control`] if the message contradicts itself,
    /// [`EmitError::Room`]; the content of `out` is then unspecified.
    pub fn emit(&self, version: u8, out: &mut [u8]) -> Result<usize, EmitError> {
        check_version_to_write(version)?;
        self.check()?;
        let room = EmitError::Room {
            found: out.len(),
            needed: self.encoded_len(),
        };
        let (first, rest) = out.split_first_mut().ok_or(room)?;
        *first = version;
        match postcard::to_slice(self, rest) {
            Ok(written) => Ok(1 + written.len()),
            Err(_) => Err(room),
        }
    }

    /// Bytes the message takes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        // Counting cannot fail; a length that no buffer has would be refused as one.
        postcard::serialize_with_flavor(self, Size::default())
            .map_or(usize::MAX, |length| length.saturating_add(1))
    }

    /// Checks the values against each other and their bounds.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub fn check(&self) -> Result<(), ControlError> {
        match self {
            Self::Hello(hello) => hello.check(),
            Self::Offer(offer) => offer.check(),
            Self::Accept { member, .. } => check_member(*member),
            Self::ProbeFrame(probe) => probe.check(),
            Self::Start(start) => start.check(),
            Self::Result(result) => result.check(),
            Self::ImageRequest(request) => request.check(),
            Self::InferenceResponse(response) => response.check(),
            Self::StartText(start) => start.check(),
            Self::Resume(resume) => resume.check(),
            Self::Finished(finished) => finished.check(),
            Self::GenerationRequest(request) => request.check(),
            Self::EmbeddingRequest(request) => request.check(),
            Self::Halo(halo) => halo.check(),
            Self::Refuse { .. }
            | Self::Probe { .. }
            | Self::ProbeReply { .. }
            | Self::Cancel { .. }
            | Self::Failed { .. }
            | Self::Leave { .. }
            | Self::Token { .. }
            | Self::TextDelta { .. }
            | Self::GenerationResponse(_)
            | Self::Ack { .. } => Ok(()),
        }
    }
}

// Kinds and code frames share the second byte.
const _: () = assert!(Control::KINDS <= CODE_MARK);
