//! A generation as the compute thread runs it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::GenerationRequest;
use crate::job::Job;

/// Takes each token; returns whether more are wanted. Called between two tokens, so it must not block for long.
pub type TokenCallback = Box<dyn FnMut(u32) -> bool + Send>;

/// One generation on this device.
pub struct GenerationJob {
    /// What to generate.
    pub request: GenerationRequest,
    /// How the prompt is computed.
    pub prefill: Prefill,
    /// Takes the tokens.
    pub on_token: TokenCallback,
    /// Set to end the generation before its next token.
    pub cancelled: Arc<AtomicBool>,
}

/// How a prompt is computed. All but [`Plan`](Self::Plan) reuse the part of it that is in the KV cache.
pub enum Prefill {
    /// On this device. Only exact keys and values are reused.
    Local,
    /// On this device, if any of the prompt is in the KV cache; fails otherwise.
    Cached {
        /// Keys and values of this rung (bits per token per block; 0 in exact mode) are reused too.
        rung: u16,
    },
    /// In a plan whose last member is this device.
    Plan {
        /// The plan.
        plan: u64,
        /// This device's part.
        job: Job,
    },
}
