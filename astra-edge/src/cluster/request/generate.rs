//! A prompt to continue, and what came of it.

use astra_model::tasks::text::sampling::Sampling;
use astra_wire::RequestOptions;

pub use crate::generate::Finish;
use crate::report::Report;

/// A prompt to go on from.
#[derive(Clone, Debug)]
pub struct Generate {
    /// How it is to be answered; the deadline is that of the first token.
    pub options: RequestOptions,
    /// Token ids of the prompt, special ones included.
    pub prompt: Vec<u32>,
    /// How each next token is chosen.
    pub sampling: Sampling,
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// Tokens of each member in the order of their names, behind those that every member computes; by speed if `None`.
    pub shares: Option<Vec<u16>>,
}

/// What a generation came to; its tokens were sent as they came.
#[derive(Clone, Debug)]
pub struct Generated {
    /// What it took.
    pub report: Report,
    /// Tokens generated, the one that ended it not counted.
    pub tokens: usize,
    /// Why it ended.
    pub finish: Finish,
}
