//! What surrounds a language model.
//!
//! - [`sampling`]: logits to the next token

pub mod sampling;
