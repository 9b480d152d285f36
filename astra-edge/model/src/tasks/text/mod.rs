//! Preprocessing and postprocessing of a language model.
//!
//! - [`tokenizer`]: text to token ids
//! - [`template`]: chat messages to a prompt
//! - [`sampling`]: logits to the next token
//! - [`detokenizer`]: token ids to text, incrementally
//! - [`stop`]: strings that end a generation

pub mod detokenizer;
mod generation_tag;
pub mod sampling;
pub mod stop;
pub mod template;
pub mod tokenizer;

#[cfg(any(test, feature = "fixtures"))]
pub mod fixture;
