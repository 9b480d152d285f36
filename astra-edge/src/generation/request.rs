//! What is to be generated.

use astra_wire::GenerationParams;

use super::SamplingParams;

/// Continue a prompt. `P` is the form the prompt is in: what a client writes, or, from the tokenizer on, token ids with special tokens
/// included.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRequest<P = Vec<u32>> {
    /// The prompt.
    pub prompt: P,
    /// How each token is chosen.
    pub sampling: SamplingParams,
    /// When to stop.
    pub stop: StopConditions,
}

/// What ends a generation, besides the model's end-of-text tokens and its longest text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopConditions {
    /// Most tokens to generate; `None` for no limit.
    pub max_tokens: Option<usize>,
    /// Strings that end the text, and are not part of it. They are found where tokens become text: the compute thread and messages
    /// between devices know nothing of them.
    pub strings: Vec<String>,
}

impl StopConditions {
    /// Stops after `max_tokens` tokens.
    pub const fn after(max_tokens: usize) -> Self {
        Self {
            max_tokens: Some(max_tokens),
            strings: Vec::new(),
        }
    }
}

impl GenerationRequest {
    /// What a member that generates is sent besides the prompt.
    pub fn params(&self) -> GenerationParams {
        let max_tokens = self.stop.max_tokens.unwrap_or(usize::MAX);
        GenerationParams {
            max_tokens: u32::try_from(max_tokens).unwrap_or(u32::MAX),
            sampling: self.sampling,
        }
    }

    /// The request that a member receives: see [`params`](Self::params).
    pub fn received(prompt: Vec<u32>, params: &GenerationParams) -> Self {
        Self {
            prompt,
            sampling: params.sampling,
            stop: StopConditions::after(params.max_tokens as usize),
        }
    }
}
