//! A BERT in the weights of a bundle.

use astra_bundle::{BundleError, BundleWriter, ExactBlock, Shape, TensorRef};

use super::model::{BertBlock, BertModel};
use crate::family::stored::{StoredAttention, StoredMlp, store_exact, store_norm};
use crate::graph::StoredNorm;

/// Every tensor the graphs refer to, each stored once.
#[derive(Debug)]
pub struct StoredBert {
    /// Dimensions at this number of tokens.
    pub shape: Shape,
    /// What exact mode decodes with, by block.
    pub exact: Vec<ExactBlock>,
    /// `[vocab, D]`
    pub(super) embedding: TensorRef,
    /// `[tokens, D]`
    pub(super) positions: TensorRef,
    pub(super) norm: StoredNorm,
    pub(super) blocks: Vec<StoredBlock>,
}

#[derive(Debug)]
pub(super) struct StoredBlock {
    pub(super) attention: StoredAttention,
    pub(super) norm1: StoredNorm,
    pub(super) mlp: StoredMlp,
    pub(super) norm2: StoredNorm,
}

impl StoredBert {
    /// Stores `model` for texts of up to `max_tokens` tokens.
    ///
    /// # Errors
    /// Whatever the writer says.
    pub fn store(
        writer: &mut BundleWriter,
        model: &BertModel,
        max_tokens: usize,
    ) -> Result<Self, BundleError> {
        let hidden = model.hidden;
        let places = model.positions.chunks(hidden.max(1)).take(max_tokens);
        let places = places.collect::<Vec<_>>().concat();
        let embedding = writer.weights(&model.embedding, &[model.vocab, hidden])?;
        let positions = writer.weights(&places, &[places.len() / hidden.max(1), hidden])?;
        let norm = store_norm(writer, &model.norm)?;
        let (mut blocks, mut exact) = (Vec::new(), Vec::new());
        for block in &model.blocks {
            blocks.push(store_block(writer, block)?);
            exact.push(store_exact(writer, &block.key, &block.value)?);
        }
        Ok(Self {
            shape: Shape {
                hidden,
                heads: model.heads,
                kv_heads: model.heads,
                head_dim: hidden / model.heads.max(1),
                blocks: blocks.len(),
                tokens: max_tokens,
                class_tokens: 0,
            },
            exact,
            embedding,
            positions,
            norm,
            blocks,
        })
    }
}

fn store_block(writer: &mut BundleWriter, block: &BertBlock) -> Result<StoredBlock, BundleError> {
    Ok(StoredBlock {
        attention: StoredAttention::store(
            writer,
            [&block.query, &block.key, &block.value, &block.output],
        )?,
        norm1: store_norm(writer, &block.norm1)?,
        mlp: StoredMlp::store(writer, [&block.up, &block.down])?,
        norm2: store_norm(writer, &block.norm2)?,
    })
}
