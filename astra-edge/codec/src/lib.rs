//! Grouped vector quantization over borrowed codebooks.
#![no_std]

mod codebook;
mod error;
mod kernel;
mod prepare;

pub use codebook::Codebook;
pub use error::{CodebookError, LengthError};
pub use prepare::{half_norms, word_major};
