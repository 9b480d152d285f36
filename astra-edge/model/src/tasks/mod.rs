//! Preprocessing and postprocessing for each kind of input.
//!
//! - [`grid`]: patches of the square input, and conversion between pixel orders
//! - [`photograph`]: decoding image files, and [`image`]: the model's input pixels of a photograph
//! - [`strip`]: the pixels of one member's tokens, compressed to be sent to it
//! - [`features`]: features of one member's tokens, quantized to be sent to others
//! - [`scores`]: scores of a map, quantized to bytes, and [`lossless`]: compression of those bytes
//! - [`resize`]: resizing bit for bit as Pillow does
//! - [`embedding`]: pooling of token features to the embedding of a text
//! - [`overlay`]: drawing a map over its photograph
//! - [`text`]: tokenizer, chat template, sampling and stop strings of a language model
//!
//! Nothing here panics on bytes from files or the network; each module has its own typed error.

pub mod embedding;
pub mod features;
pub mod grid;
pub mod image;
mod inferno;
pub mod lossless;
pub mod overlay;
pub mod photograph;
pub mod resize;
pub mod scores;
pub mod strip;
pub mod text;

#[cfg(test)]
mod samples;
