//! The model on ONNX Runtime: sessions, preallocated buffers, and one function for each step that computes.
//!
//! [`Runtime`] is the loaded library with its execution [`Provider`]s, [`Model`] the per-block sessions of a bundle, [`Modality`] the
//! kind of input they take, [`Member`] the buffers of one token range at one rung bound to those sessions, [`Codec`] the matrices
//! and codebooks of a rung, and [`TokenEncoder`] what codes a member's tokens with them. On a single device the model is one fused graph: [`FullModel`] for images, [`Encoder`] for embeddings of
//! text, [`Decoder`] with a KV cache for generation. [`Head`] turns features into a [`ModelOutput`], [`LanguageHead`] into logits;
//! [`DistributedHead`] is computed by several members, each for its rows of the map.
//!
//! Shapes are written with D hidden width, H heads of width d, W width of keys (and of values), c class tokens (of a causal
//! model: its first tokens, which every member computes), t own tokens of those that are divided, m = c + t own rows, r remote
//! tokens, R axes of the codec and V tokens of the vocabulary. All tensors are row-major float32 unless said.

mod arena;
mod bind;
mod buffers;
mod codec;
mod compute_thread;
mod decoder;
mod distributed_head;
mod encoder;
mod error;
mod full_model;
mod graph;
mod head;
mod heartbeat;
mod input;
mod kv_cache;
mod language_head;
mod library;
mod masked_attention;
mod member;
mod mlp;
mod model;
mod output;
mod packed_weights;
mod per_block;
mod prediction;
mod provider;
mod runtime;
mod tensors;
mod token_encoder;

pub use codec::{BlockTables, Codec, RungTables, Stages};
pub use compute_thread::{COMPUTE_THREAD, thread_time};
pub use decoder::Decoder;
pub use distributed_head::DistributedHead;
pub use encoder::Encoder;
pub use error::{EngineError, TableError};
pub use error::{slice, slice_mut};
pub use full_model::FullModel;
pub use head::Head;
pub use heartbeat::Heartbeat;
pub use input::{Input, Modality, OwnedInput};
pub use language_head::LanguageHead;
pub use member::Member;
pub use model::Model;
pub use output::{Map, ModelOutput};
pub use provider::Provider;
pub use runtime::{Runtime, disable_telemetry};
pub use token_encoder::{Encoded, TokenEncoder};
