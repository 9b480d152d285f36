//! Requests of clients, and the responses to them.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::checks::check_floats;
use super::generation::{FinishReason, SamplingParams};
use super::octets;
use crate::error::ControlError;

/// Most strings that end a text.
pub const MAX_STOP_STRINGS: usize = 16;

/// How a client's request is to be processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOptions {
    /// Rung to use, 0 for exact mode; `None` leaves it to the device.
    pub rung: Option<u16>,
    /// Use no other device.
    pub local: bool,
    /// Compute the answer on one device too, and report the agreement.
    pub compare: bool,
    /// Milliseconds until the response is due; 0 leaves it to the device.
    pub deadline_ms: u32,
    /// Most members to use; 0 leaves it to the device.
    pub max_members: u8,
}

/// Infer from an image. Answered by [`InferenceResponse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRequest<'a> {
    /// How it is to be processed.
    pub options: RequestOptions,
    /// The image file.
    #[serde(borrow, with = "octets")]
    pub image: &'a [u8],
}

impl ImageRequest<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        if self.image.is_empty() {
            return Err(ControlError::NoInput);
        }
        Ok(())
    }
}

/// A text as a client writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Prompt<'a> {
    /// A text.
    Text(&'a str),
    /// The messages of a chat, as a JSON list of objects with `role` and `content`.
    Chat(&'a str),
}

impl Prompt<'_> {
    fn check(&self) -> Result<(), ControlError> {
        match self {
            Self::Text("") | Self::Chat("") => Err(ControlError::NoInput),
            Self::Text(_) | Self::Chat(_) => Ok(()),
        }
    }
}

/// Continue a prompt. Answered by [`Control::TextDelta`](super::Control::TextDelta), any number of times, and
/// [`GenerationResponse`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationRequest<'a> {
    /// How it is to be processed.
    pub options: RequestOptions,
    /// The prompt.
    #[serde(borrow)]
    pub prompt: Prompt<'a>,
    /// How each token is chosen.
    pub sampling: SamplingParams,
    /// Most tokens to generate; `None` for as many as the model's longest text holds.
    pub max_tokens: Option<u32>,
    /// Strings that end the text, and are not part of it.
    #[serde(borrow)]
    pub stop: Vec<&'a str, MAX_STOP_STRINGS>,
}

impl GenerationRequest<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        self.prompt.check()?;
        self.sampling.check()
    }
}

/// Compute the embedding of a text. Answered by [`InferenceResponse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingRequest<'a> {
    /// How it is to be processed.
    pub options: RequestOptions,
    /// The text.
    #[serde(borrow)]
    pub input: Prompt<'a>,
}

impl EmbeddingRequest<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        self.input.check()
    }
}

/// The response to [`ImageRequest`] and [`EmbeddingRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferenceResponse<'a> {
    /// Times, members and costs, as a JSON object.
    pub report: &'a str,
    /// Columns of the map.
    pub width: u16,
    /// Rows of the map.
    pub height: u16,
    /// The dense map, row by row: `f32`. Empty if either side is 0.
    #[serde(borrow, with = "octets")]
    pub map: &'a [u8],
    /// The class token of an image, or the embedding of a text: `f32`.
    #[serde(borrow, with = "octets")]
    pub cls: &'a [u8],
}

impl InferenceResponse<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_floats("cls", self.cls)?;
        let expected = u64::from(self.width) * u64::from(self.height) * 4;
        if self.map.len() as u64 == expected {
            return Ok(());
        }
        Err(ControlError::Map {
            found: self.map.len(),
            expected,
        })
    }
}

/// The end of the response to [`GenerationRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationResponse<'a> {
    /// Times, members and costs, as a JSON object.
    pub report: &'a str,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub tokens: u32,
    /// Why it ended.
    pub finish_reason: FinishReason,
}
