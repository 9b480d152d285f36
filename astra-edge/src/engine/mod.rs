//! The model on ONNX Runtime: sessions, preallocated buffers, and one function for each step that computes.
//!
//! [`Runtime`] is the loaded library, [`Model`] the per-block sessions of a bundle, [`Member`] the buffers of one token range
//! at one rung bound to those sessions, [`Codec`] what a rung needs at run time, and [`Whole`] the model as one fused graph
//! for a device on its own.
//!
//! Shapes are written with D hidden width, W width of keys (and of values), c class tokens, t own patch tokens, m = c + t own
//! rows, r remote tokens and R axes of the codec. All tensors are row-major float32 unless said.

mod buffers;
mod codec;
mod error;
mod member;
mod model;
mod runtime;
mod whole;

pub use codec::Codec;
pub use error::EngineError;
pub use member::Member;
pub use model::Model;
pub use runtime::Runtime;
pub use whole::{Answer, Head, Map, Whole};
