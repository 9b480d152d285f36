//! Why a request whose input is text fails.

use crate::cluster::request::error::RequestError;
use astra_model::tasks::text::sampling::SamplingError;
use astra_model::tasks::text::stop::StopError;
use astra_model::tasks::text::template::TemplateError;
use astra_model::tasks::text::tokenizer::TokenizerError;

/// Why a request whose input is text fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The bundle is of another task.
    #[error("this model does not {wanted}: {found}")]
    Task {
        /// What was requested.
        wanted: &'static str,
        /// What it does.
        found: &'static str,
    },
    /// A chat for a model without a chat template.
    #[error("messages: found a model without a chat template, expected a prompt to complete")]
    NoTemplate,
    /// The prompt has no tokens.
    #[error("prompt: found an empty one, expected at least one token")]
    Empty,
    /// The prompt is longer than the model takes.
    #[error("prompt: found {found} tokens, expected at most {most}")]
    TooLong {
        /// Tokens of the prompt.
        found: usize,
        /// Tokens allowed.
        most: usize,
    },
    /// `max_tokens` is 0.
    #[error("max_tokens: found 0, expected at least 1")]
    NoTokens,
    /// A token id beyond the vocabulary.
    #[error("token id: found {found}, expected less than {vocab}")]
    UnknownToken {
        /// Its id.
        found: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The template refuses the chat, or fails.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The text cannot be tokenized, or tokens cannot be decoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A sampling parameter is out of range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The stop strings are refused.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// The model or the cluster failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A task ended early.
    #[error("stopped in the middle: {0}")]
    Stopped(String),
}
