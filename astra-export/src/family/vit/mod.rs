//! Vision Transformers: ViT and DINOv2.
//!
//! - [`VitModel`] and its parts: what a source has to deliver
//! - [`StoredVit`]: the same in the weights of a bundle, folded to what the graphs compute with
//! - [`graphs`]: `embed`, `local_BB`, `attend_BB`, `head` and `whole`
//!
//! Symbols: D hidden width, T patches, p side of a patch, m rows of a member (its class token and patches), r rows that come
//! from other members, R rank of the codec.

mod graphs;
mod head;
mod model;
mod saliency;
mod stored;
mod sub_pixel;

pub use graphs::graphs;
pub use model::{
    BlockWeights, Classifier, Head, ImageScale, Pooling, Saliency, UpConvolution, VitModel,
};
pub use stored::StoredVit;
