//! Questions in text: a prompt to go on from, or a text to make one vector of.

use astra_wire::AskOptions;
use tokio::sync::mpsc;

use super::coordinator::{Coordinator, RequestError};
pub use crate::generate::Finish;
use crate::report::Report;
use crate::tasks::text::sampling::Sampling;

/// A prompt to go on from.
#[derive(Clone, Debug)]
pub struct Generate {
    /// How it is to be answered; the deadline is that of the first token.
    pub options: AskOptions,
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

/// A text as one vector.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// What it took.
    pub report: Report,
    /// The vector: [D].
    pub embedding: Vec<f32>,
}

impl Coordinator {
    /// Computes the prompt across members; the member with its last tokens then generates, and each token id is sent to
    /// `tokens` as it comes. Dropping the receiver ends the generation early.
    ///
    /// # Errors
    /// The model is not one that generates, the prompt is empty or too long, the first token does not come before the
    /// deadline, or the generating member fails.
    pub async fn generate(
        &self,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> Result<Generated, RequestError> {
        let _ = (question, tokens);
        Err(RequestError::Own("not yet".to_owned()))
    }

    /// One text's vector; `ids` are its tokens, special ones included.
    ///
    /// # Errors
    /// The model is not one that embeds, the text is empty or too long, or it is not answered before the deadline.
    pub async fn embed(
        &self,
        options: AskOptions,
        shares: Option<Vec<u16>>,
        ids: Vec<u32>,
    ) -> Result<Embedded, RequestError> {
        let _ = (options, shares, ids);
        Err(RequestError::Own("not yet".to_owned()))
    }
}
