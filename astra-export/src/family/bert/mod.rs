//! BERT: text encoders with layer normalization after each step.
//!
//! - [`BertModel`] and its parts: what a source has to deliver
//! - [`StoredBert`]: the same in the weights of a bundle
//! - [`graphs`]: `embed`, `local_BB`, `attend_BB` and `whole`
//!
//! What K and V are computed from is the normalized output of the layer before, so n is x throughout.

mod graphs;
mod model;
mod stored;

pub use graphs::graphs;
pub use model::{BertBlock, BertModel, DenseLayer, EmbeddingHead, HeadStep};
pub use stored::StoredBert;
