//! Tokens from the device that generates to the client.

pub mod conversation;
pub mod token_sink;
pub mod token_source;
