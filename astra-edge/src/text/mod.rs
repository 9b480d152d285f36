//! Text in, text out, where [`crate::cluster::request::text`] takes and returns token ids.
//!
//! The device that receives a request runs the tokenizer, and turns tokens back into text as they come. A stop string, or a client that
//! has gone, ends the generation on whichever device runs it, because its tokens are no longer taken.

mod bundle_text;
mod error;
mod relay;
mod service;
mod stream;
mod token_model;

use astra_model::tasks::text::template::Message;

pub use bundle_text::BundleText;
pub use error::TextError;
pub use service::TextService;
pub use stream::{TextEvent, TextStream};
pub use token_model::TokenModel;

/// A text as a client gives it: a prompt to continue, or an input to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// The messages of a chat, for the model's template.
    Chat(Vec<Message>),
    /// Token ids, special ones included.
    Tokens(Vec<u32>),
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
