//! Families of models, each with its weights and the graphs it becomes.
//!
//! - [`weights`], `stored`: linear maps and normalizations, and the same in the weights of a bundle
//! - `parts`: what the graphs of all families have in common
//! - [`vit`]: vision Transformers
//! - [`bert`]: text encoders
//! - [`decoder`]: causal language models, [`llama`] and [`gpt2`]

pub mod bert;
pub mod decoder;
pub mod gpt2;
pub mod llama;
mod parts;
mod stored;
pub mod vit;
pub mod weights;

pub use parts::{NamedGraph, attend_name, local_name, mlp_name, predict_graph};
