//! What a rung's codec is made of, as tensors that are trained.
//!
//! - `tensors`: the trained tensors of a block, and the fixed parts of a rung
//! - `bundle`: read from a bundle, and back in the form that a bundle and a device take
//! - `codebooks`: codebooks in the orders that a search reads
//! - `decisions`: codes and refined tokens, chosen as devices choose them
//! - `decode`: what receivers decode, with gradients

mod bundle;
mod codebooks;
mod decisions;
mod decode;
mod tensors;

pub(super) use bundle::rounded;
pub(super) use codebooks::Codebooks;
pub(super) use decisions::{Decisions, Noise};
pub(super) use decode::{Coded, Decoder};
pub(super) use tensors::{BlockFrame, BlockTensors, RungFrame, SECOND, Values};
