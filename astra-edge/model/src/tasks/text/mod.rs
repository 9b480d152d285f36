//! What surrounds a language model.
//!
//! - [`tokenizer`]: text to token ids
//! - [`template`]: the messages of a chat to one text
//! - [`sampling`]: logits to the next token
//! - [`detokenizer`]: token ids to text, as they come
//! - [`stop`]: strings that end a generation

pub mod detokenizer;
mod generation_tag;
pub mod sampling;
pub mod stop;
pub mod template;
pub mod tokenizer;

#[cfg(any(test, feature = "fixtures"))]
pub mod fixture;
