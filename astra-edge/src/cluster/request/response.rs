//! What a client gets for a prompt.

use crate::generation::FinishReason;
use crate::report::Report;

/// The end of a generation; its tokens, or the text they make, came before.
#[derive(Clone, Debug)]
pub struct GenerationResponse {
    /// Times, members and costs.
    pub report: Report,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated, without an end-of-text token.
    pub tokens: usize,
    /// Why it ended. [`Stop`](FinishReason::Stop) also for a stop string.
    pub finish_reason: FinishReason,
}
