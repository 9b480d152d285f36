//! Grouped vector quantization over borrowed codebooks, without `std` and without allocation.
//!
//! A device sends codes instead of activations. Each token of a block is `y`, a vector of `R` axes
//! that the export chose so that squared distance is the error of the output; the axes are divided
//! into `G` groups, each with its own codebook of `K` words, and the token's code in
//! a group is the index of the nearest word (grouped vector quantization as in ASTRA, arXiv
//! 2505.19342; the choice of axes is this project's own). `G log2 K` bits per token replace `32 R`.
//!
//! Layers, lowest first:
//! - `error`: errors of lengths and codes
//! - `word`: writing, adding or subtracting a codeword
//! - `kernel`: the search, one file per kernel
//! - `codebook`: [`Codebook`], borrowed tables of one stage of a block at one rung, which encodes and decodes
//! - `mean`: [`MeanQuantizer`], the mean of a frame, which is subtracted before the first stage
//! - `selection`: [`largest`], the tokens that a second stage refines
//! - `prepare`: [`word_major`] and [`half_norms`], tables derived from the codewords when a codebook is loaded
//!
//! # Two stages
//! A few tokens of every block are far from every codeword and carry most of the harm. Of the tokens of
//! a frame those with the largest error are coded again: [`Codebook::residual`] leaves the difference to the first
//! stage in `y`, [`largest`] chooses, a second codebook over the same axes encodes the chosen rows, and
//! a receiver adds them by [`Codebook::add_token`] (multistage vector quantization: Juang and Gray, ICASSP 1982,
//! here for some of the vectors).
//!
//! # Shapes
//! All arrays are row-major `f32`; groups are contiguous.
//!
//! | | shape | |
//! |---|---|---|
//! | `y` | `[tokens][R]` | `R`, the rank, is the sum of the groups' sizes `d_g` |
//! | codes | `[tokens][G]` | `u16`, each below `K` |
//! | `dim_major` | `[d_g][K]` per group | the codewords, `R K` numbers |
//! | `word_major` | `[K][d_g]` per group | the same numbers transposed |
//! | `half_norms` | `[G][K]` | half the squared length of each codeword |
//! | errors | `[tokens]` | squared length of the residual of the first stage |
//! | positions | `[refined]` | `u16`, tokens of a frame, ascending |
//!
//! # Arithmetic
//! The nearest word to `y` is the one of lowest score `|c|^2 / 2 - <y, c>`, which is half the
//! squared distance less half the squared length of `y`. A score starts from the half norm and
//! loses one product after another in the order of the axes. With AVX2 and FMA, used where the
//! processor has them, each step is rounded once; elsewhere the product and the difference are
//! rounded separately. Two devices may therefore choose different words if their distances differ
//! only by rounding; the receiver decodes either.
//!
//! Of equal scores the lowest index is chosen. A NaN score is never chosen: a token with a NaN in a
//! group gets code 0 there, and infinities get some code in range.
//!
//! # Panics
//! Nothing here panics for any content of the buffers. Buffers of the wrong length are errors,
//! detected before anything is written.
//!
//! # Example
//! ```
//! use astra_codec::{Codebook, half_norms, word_major};
//!
//! // One group of two axes, two words: (0, 0) and (3, 4).
//! let (dims, words, codewords) = ([2], 2, [0.0, 3.0, 0.0, 4.0]);
//! let (mut turned, mut norms) = ([0.0; 4], [0.0; 2]);
//! word_major(&dims, words, &codewords, &mut turned)?;
//! half_norms(&dims, words, &codewords, &mut norms)?;
//! let codebook = Codebook::new(&dims, words, &codewords, &turned, &norms)?;
//!
//! let mut codes = [0; 2];
//! codebook.encode(&[1.0, 1.0, 2.0, 3.0], &mut codes)?;
//! assert_eq!(codes, [0, 1]);
//!
//! let mut y = [0.0; 4];
//! codebook.decode(&codes, &mut y)?;
//! assert_eq!(y, [0.0, 0.0, 3.0, 4.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

mod codebook;
mod error;
mod kernel;
mod mean;
mod prepare;
mod selection;
mod word;

pub use codebook::Codebook;
pub use error::{CodebookError, LengthError, MeanError};
pub use mean::{MAX_MEAN_BITS, MeanQuantizer, UNIFORM_STEPS, packed_mean_len};
pub use prepare::{half_norms, word_major};
pub use selection::largest;
