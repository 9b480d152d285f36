//! Requests between devices whose input is text, and the tokens generated for them.

use serde::{Deserialize, Serialize};

use super::checks::check_member;
use super::ids::check_ids;
use super::octets;
use super::request::MemberStats;
use crate::error::ControlError;
use crate::limits::SECRET;

/// How each next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    /// Divisor of the logits; 0 takes the most probable token.
    pub temperature: f32,
    /// Nucleus sampling: the most probable tokens whose probabilities add up to this are sampled from; 1 keeps all.
    pub top_p: f32,
    /// This many of the most probable tokens are sampled from; 0 keeps all.
    pub top_k: u32,
    /// Divisor of the logits of tokens that occurred already; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl SamplingParams {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        let fail = |field, expected| Err(ControlError::Sampling { field, expected });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return fail("temperature", "a finite number of at least 0");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return fail("top_p", "a number above 0 and at most 1");
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            return fail("repetition_penalty", "a finite number above 0");
        }
        Ok(())
    }
}

/// What a member generates after computing a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationParams {
    /// Most tokens to generate.
    pub max_tokens: u32,
    /// How each is chosen.
    pub sampling: SamplingParams,
}

/// Starts a request whose input is text on a member. Answered by [`MemberResult`](super::MemberResult), or with
/// [`generate`](Self::generate) by [`Control::Token`](super::Control::Token), any number of times, and [`Finished`].
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
    /// What to generate after it; `None` for the members that do not generate.
    pub generate: Option<GenerationParams>,
    /// Token ids, as [`pack_ids`](super::pack_ids) writes them: those that every member computes and the member's own; the
    /// whole text for the member that generates.
    #[serde(borrow, with = "octets")]
    pub ids: &'a [u8],
}

impl StartText<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_ids(self.ids)?;
        self.generate
            .map_or(Ok(()), |generate| generate.sampling.check())
    }
}

/// Continues a text of which a device has a prefix in its KV cache. Answered as [`StartText`] that generates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resume<'a> {
    /// Identifies the generation, with [`request`](Self::request), to cancel it; no plan has this number.
    pub plan: u64,
    /// See [`plan`](Self::plan).
    pub request: u32,
    /// Bits per token per block that the cache may have been computed with; 0 for exact values only.
    pub rung: u16,
    /// What to generate.
    pub generate: GenerationParams,
    /// Token ids of the whole text, as [`pack_ids`](super::pack_ids) writes them.
    #[serde(borrow, with = "octets")]
    pub ids: &'a [u8],
    /// See [`Offer::secret`](super::Offer::secret).
    pub secret: [u8; SECRET],
}

impl Resume<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_ids(self.ids)?;
        self.generate.sampling.check()
    }
}

/// Why a generation ended. The order is the number on the wire: new ones go last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model chose a token that ends the text, or a stop string came.
    Stop,
    /// The number of tokens requested, or the model's longest text, was reached.
    Length,
    /// The generation was cancelled.
    Cancelled,
}

impl FinishReason {
    /// Number of variants.
    pub const COUNT: usize = 3;
}

/// What a generation cost the member that ran it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStats {
    /// Tokens generated.
    pub tokens: u32,
    /// Tokens of the prompt that were in the KV cache.
    pub reused_tokens: u32,
    /// Whether the member computed the whole prompt itself, because codes of other members were missing.
    pub recomputed: bool,
    /// Microseconds from the start to the first token.
    pub prefill_us: u32,
    /// Microseconds from the first token to the end.
    pub decode_us: u32,
}

/// A generation has ended: the last answer to [`StartText`] or [`Resume`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The plan.
    pub plan: u64,
    /// The request.
    pub request: u32,
    /// The member.
    pub member: u8,
    /// What the member's part of the prompt cost.
    pub stats: MemberStats,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What the generation cost.
    pub generation: GenerationStats,
}

impl Finished {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_member(self.member)
    }
}
