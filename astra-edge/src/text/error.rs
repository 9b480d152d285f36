//! Why a question in words has no answer.

use crate::cluster::request::error::RequestError;
use astra_model::tasks::text::sampling::SamplingError;
use astra_model::tasks::text::stop::StopError;
use astra_model::tasks::text::template::TemplateError;
use astra_model::tasks::text::tokenizer::TokenizerError;

/// Why a question in words has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The bundle is of another task.
    #[error("this model does not {wanted}: {found}")]
    Task {
        /// What was asked.
        wanted: &'static str,
        /// What it does.
        found: &'static str,
    },
    /// A chat for a model that knows none.
    #[error("messages: found a model without a chat template, expected a prompt to complete")]
    NoTemplate,
    /// There is nothing to go on from.
    #[error("prompt: found an empty one, expected at least one token")]
    Empty,
    /// More than the model takes.
    #[error("the prompt is {found} tokens long: expected at most {most}")]
    TooLong {
        /// Tokens there are.
        found: usize,
        /// Tokens there may be.
        most: usize,
    },
    /// No token at all is wanted.
    #[error("max_tokens: found 0, expected at least 1")]
    NoTokens,
    /// A token that the model does not have.
    #[error("token id: found {found}, expected less than {vocab}")]
    UnknownToken {
        /// Its id.
        found: u32,
        /// Tokens there are.
        vocab: usize,
    },
    /// The template refuses the chat, or fails.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The text cannot be divided into tokens, or not be put run_distributed.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The sampling is not possible.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The stop strings are not possible.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// The model or the cluster failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Part of the program ended early.
    #[error("stopped in the middle: {0}")]
    Stopped(String),
}
