//! What surrounds the model for each kind of input.
//!
//! - [`grid`]: where a token's patch lies in the square input, and pixels from one order to the other
//! - [`photograph`]: a photograph in a file to pixels, and [`image`]: to the pixels of every token
//! - [`strip`]: the pixels of one member's tokens, compressed for the way to it
//! - [`features`]: features of one member's tokens, compressed for the way to others
//! - [`scores`]: scores of a map as bytes, and [`lossless`]: those bytes, compressed for the way back
//! - [`resize`]: photographs to other sizes, to the bit as Pillow does
//! - [`embedding`]: one vector of a text from the features of its tokens
//! - [`picture`]: a map drawn over the photograph it belongs to
//! - [`text`]: what surrounds a language model
//!
//! Nothing here panics on bytes from files or the network; each module has its own typed error.

pub mod embedding;
pub mod features;
pub mod grid;
mod heat;
pub mod image;
pub mod lossless;
pub mod photograph;
pub mod picture;
pub mod resize;
pub mod scores;
pub mod strip;
pub mod text;

#[cfg(test)]
mod samples;
