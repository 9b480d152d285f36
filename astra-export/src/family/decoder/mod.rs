//! Causal language models: what llama and gpt2 share.
//!
//! - [`Decoder`] and its parts: the weights, whatever file they came from
//! - [`StoredDecoder`]: the same in the weights of a bundle
//! - [`graphs`]: `embed`, `local_BB`, `attend_BB`, `head` and `decode`
//!
//! The first [`SINK`] tokens, the attention sink, are computed by every member: a causal prefix depends on itself alone, so
//! that costs no bits, and without it coded tokens would stand where all others look.
//!
//! Symbols: D hidden width, H query heads, d width of a head, W width of K and of V, t own tokens, m = sink and own rows,
//! r rows that come from other members, C room of a cache, l rows of a step.

mod graphs;
mod model;
mod stored;

pub use graphs::graphs;
pub use model::{Decoder, DecoderBlock, DecoderNorm, Mlp, Positions};
pub use stored::StoredDecoder;

/// Tokens that every member computes itself, P.
pub const SINK: usize = 4;

/// What the width of a head has to be a multiple of, for ONNX Runtime's attention with a cache.
pub const HEAD_MULTIPLE: usize = 8;
