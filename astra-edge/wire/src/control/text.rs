//! Texts: a member's part in one, the tokens that come of it, and a client's question in words.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::ids::check_ids;
use super::{AskOptions, ControlError, Stats, check_member, octets};

/// Most strings that end a text.
pub const MAX_STOPS: usize = 16;

/// How each next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Scores are divided by it; 0 takes the best token.
    pub temperature: f32,
    /// Probability that the tokens in question have together.
    pub top_p: f32,
    /// Number of tokens in question; 0 for all.
    pub top_k: u32,
    /// What scores of tokens that came before are divided by; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Start of the random numbers.
    pub seed: u64,
}

impl Choice {
    fn check(&self) -> Result<(), ControlError> {
        let out = |field| Err(ControlError::Choice { field });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return out("temperature");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return out("top_p");
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            return out("repetition_penalty");
        }
        Ok(())
    }
}

/// A member generates once the prompt is computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// Most tokens to generate.
    pub max_tokens: u32,
    /// How each is chosen.
    pub choice: Choice,
}

/// A request begins whose input is text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartText<'a> {
    /// The plan.
    pub plan: u64,
    /// Its epoch.
    pub epoch: u16,
    /// The request, sent in every code frame.
    pub request: u32,
    /// Milliseconds until the text has to be computed.
    pub deadline_ms: u32,
    /// For the member that generates: what to do then.
    pub generate: Option<Generate>,
    /// Token ids, as [`pack_ids`](super::pack_ids) writes them: those that every member computes and the member's own; all of
    /// the text for the member that generates.
    #[serde(borrow, with = "octets")]
    pub ids: &'a [u8],
}

impl StartText<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_ids(self.ids)?;
        self.generate
            .map_or(Ok(()), |generate| generate.choice.check())
    }
}

/// A text goes on that is in a device's cache, or the first part of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resume<'a> {
    /// Names the generation, to cancel it.
    pub plan: u64,
    /// The same.
    pub request: u32,
    /// Bits per token per block that the cache may have been made with, 0 for exact values only.
    pub rung: u16,
    /// What to do.
    pub generate: Generate,
    /// Token ids of all of the text, as [`pack_ids`](super::pack_ids) writes them.
    #[serde(borrow, with = "octets")]
    pub ids: &'a [u8],
}

impl Resume<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_ids(self.ids)?;
        self.generate.choice.check()
    }
}

/// Why a generation ended. The order is the number on the wire: new ones go last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ending {
    /// The model chose a token that ends the text.
    Stop,
    /// As many tokens as wanted, or as the model's longest text holds.
    Length,
    /// The generation was cancelled.
    Cancelled,
}

impl Ending {
    /// Endings there are.
    pub const COUNT: usize = 3;
}

/// A generation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The plan.
    pub plan: u64,
    /// The request.
    pub request: u32,
    /// The member.
    pub member: u8,
    /// What the prompt cost it.
    pub stats: Stats,
    /// Why it ended.
    pub ending: Ending,
    /// Tokens generated.
    pub tokens: u32,
    /// Tokens of the prompt that were there from the generation before.
    pub reused: u32,
    /// Whether the member computed all of the prompt after all, because tokens of others were missing.
    pub recomputed: bool,
    /// Microseconds from the start to the first token.
    pub prefill_us: u32,
    /// Microseconds from there to the end.
    pub decode_us: u32,
}

impl Written {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_member(self.member)
    }
}

/// What a client's question goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Words<'a> {
    /// A text.
    Text(&'a str),
    /// The messages of a chat, as a JSON list of objects with `role` and `content`.
    Chat(&'a str),
}

impl Words<'_> {
    fn check(&self) -> Result<(), ControlError> {
        match self {
            Self::Text("") | Self::Chat("") => Err(ControlError::NoInput),
            Self::Text(_) | Self::Chat(_) => Ok(()),
        }
    }
}

/// A client's question to go on from a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskText<'a> {
    /// How it is to be answered.
    pub options: AskOptions,
    /// What to go on from.
    #[serde(borrow)]
    pub prompt: Words<'a>,
    /// How each token is chosen.
    pub choice: Choice,
    /// Most tokens to generate; `None` for as many as the model's longest text holds.
    pub max_tokens: Option<u32>,
    /// Strings that end the text, and are no part of it.
    #[serde(borrow)]
    pub stops: Vec<&'a str, MAX_STOPS>,
}

impl AskText<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        self.prompt.check()?;
        self.choice.check()
    }
}

/// A client's question for one vector of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskVector<'a> {
    /// How it is to be answered.
    pub options: AskOptions,
    /// The text.
    #[serde(borrow)]
    pub text: Words<'a>,
}

impl AskVector<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        self.text.check()
    }
}

/// The end of the answer to [`AskText`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextAnswer<'a> {
    /// What it took, as a JSON object.
    pub report: &'a str,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated for it.
    pub tokens: u32,
    /// Why it ended.
    pub ending: Ending,
}
