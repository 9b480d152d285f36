//! The model on ONNX Runtime: sessions, preallocated buffers, and one function for each step that computes.
//!
//! [`Runtime`] is the loaded library and the [`Provider`]s that compute, [`Model`] the per-block sessions of a bundle, [`Form`] what it takes in, [`Member`] the
//! buffers of one token range at one rung bound to those sessions, and [`Codec`] what a rung needs at run time. For a device
//! on its own the model is one fused graph: [`Whole`] for images, [`Encoder`] for texts that become vectors, [`Decoder`] for
//! texts that go on. [`Head`] makes an answer of all features, [`SharedHead`] one that members make together.
//!
//! Shapes are written with D hidden width, H heads of width d, W width of keys (and of values), c class tokens (of a causal
//! model: its first tokens, which every member computes), t own tokens of those that are divided, m = c + t own rows, r remote
//! tokens, R axes of the codec and V tokens of the vocabulary. All tensors are row-major float32 unless said.

mod arena;
mod beat;
mod bind;
mod buffers;
mod cache;
mod codec;
mod computing;
mod decode;
mod error;
mod form;
mod head_rows;
mod library;
mod member;
mod model;
mod packed;
mod pieces;
mod predict;
mod provider;
mod runtime;
mod text;
mod whole;

pub use beat::Beat;
pub use codec::Codec;
pub use computing::{COMPUTING, thread_time};
pub use decode::Decoder;
pub use error::EngineError;
pub use error::{part, part_mut};
pub use form::{Form, Input, OwnedInput};
pub use head_rows::SharedHead;
pub use member::Member;
pub use model::Model;
pub use provider::Provider;
pub use runtime::{Runtime, disable_telemetry};
pub use text::{Encoder, LanguageHead};
pub use whole::{Answer, Head, Map, Whole};
