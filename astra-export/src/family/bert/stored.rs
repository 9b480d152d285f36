//! A BERT in the weights of a bundle.

use astra_bundle::{
    BundleError, BundleWriter, Embedding, EmbeddingStep, ExactBlock, Matrix, Shape, TensorRef,
};

use super::model::{BertBlock, BertModel, DenseLayer, EmbeddingHead, HeadStep};
use crate::family::stored::{
    StoredAttention, StoredMlp, encoder_matrices, store_exact, store_norm,
};
use crate::graph::StoredNorm;

/// Every tensor the graphs refer to, each stored once.
#[derive(Debug)]
pub struct StoredBert {
    /// Dimensions at this number of tokens.
    pub shape: Shape,
    /// What one vector of a text is made with.
    pub embedding_head: Embedding,
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
        let mut blocks = Vec::new();
        for block in &model.blocks {
            blocks.push(store_block(writer, block)?);
        }
        let keys_and_values = model.blocks.iter().map(|block| [&block.key, &block.value]);
        let exact = store_exact(writer, keys_and_values)?;
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
            embedding_head: store_head(writer, &model.head)?,
            exact,
            embedding,
            positions,
            norm,
            blocks,
        })
    }
}

impl StoredBert {
    /// Every matrix of the blocks.
    pub fn matrices(&self) -> Vec<Matrix> {
        let blocks = self.blocks.iter();
        encoder_matrices(blocks.map(|block| (&block.attention, &block.mlp)))
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

fn store_head(writer: &mut BundleWriter, head: &EmbeddingHead) -> Result<Embedding, BundleError> {
    let steps = head.steps.iter().map(|step| match step {
        HeadStep::Normalize => Ok(EmbeddingStep::Normalize),
        HeadStep::Dense(dense) => store_dense(writer, dense),
        HeadStep::Truncate(width) => Ok(EmbeddingStep::Truncate { width: *width }),
    });
    Ok(Embedding {
        steps: steps.collect::<Result<_, _>>()?,
        pooling: head.pooling,
        prompt: head.prompt.clone(),
        skip: head.skip,
    })
}

fn store_dense(
    writer: &mut BundleWriter,
    dense: &DenseLayer,
) -> Result<EmbeddingStep, BundleError> {
    let bias = dense.bias.as_ref();
    let bias = bias.map(|bias| writer.weights(bias, &[dense.outputs]));
    Ok(EmbeddingStep::Dense {
        weight: writer.weights(&dense.weight, &[dense.outputs, dense.inputs])?,
        bias: bias.transpose()?,
        activation: dense.activation,
    })
}
