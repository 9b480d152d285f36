//! How a generation ended, and what it cost.

use std::time::Duration;

use astra_wire::{Finished, MemberStats};

use super::FinishReason;

/// How a generation ended, and what it cost the device that ran it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationStats {
    /// What the device's part of the prompt cost.
    pub prompt: MemberStats,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens generated, without an end-of-text token.
    pub tokens: u32,
    /// Tokens of the prompt that were in the KV cache.
    pub reused_tokens: u32,
    /// Whether the device computed the whole prompt itself, because codes of other members were missing.
    pub recomputed: bool,
    /// Microseconds from the start to the logits of the first token.
    pub prefill_us: u32,
    /// Microseconds from there to the end.
    pub decode_us: u32,
}

impl GenerationStats {
    /// The last message of a generation.
    pub(crate) fn finished(&self, plan: u64, request: u32, member: u8) -> Finished {
        Finished {
            plan,
            request,
            member,
            stats: self.prompt,
            finish_reason: self.finish_reason,
            generation: astra_wire::GenerationStats {
                tokens: self.tokens,
                reused_tokens: self.reused_tokens,
                recomputed: self.recomputed,
                prefill_us: self.prefill_us,
                decode_us: self.decode_us,
            },
        }
    }

    /// Time from the start to the logits of the first token.
    pub fn prefill(&self) -> Duration {
        Duration::from_micros(self.prefill_us.into())
    }

    /// Time from the logits of the first token to the end.
    pub fn decode(&self) -> Duration {
        Duration::from_micros(self.decode_us.into())
    }
}

impl From<&Finished> for GenerationStats {
    fn from(finished: &Finished) -> Self {
        Self {
            prompt: finished.stats,
            finish_reason: finished.finish_reason,
            tokens: finished.generation.tokens,
            reused_tokens: finished.generation.reused_tokens,
            recomputed: finished.generation.recomputed,
            prefill_us: finished.generation.prefill_us,
            decode_us: finished.generation.decode_us,
        }
    }
}

/// `finish_reason` as OpenAI's API names it.
pub const fn finish_reason_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        _ => "stop",
    }
}
