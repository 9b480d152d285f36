//! The weights of a BERT, whatever file they came from.

use astra_bundle::{Activation, TextPooling};

use crate::family::weights::{Linear, Norm};
use crate::narrow::Storage;

/// A model. Every length fits the dimensions; sources check that.
#[derive(Debug, Clone, PartialEq)]
pub struct BertModel {
    /// D
    pub hidden: usize,
    /// Attention heads, all of width D / heads.
    pub heads: usize,
    /// Tokens there are.
    pub vocab: usize,
    /// `[vocab, D]`
    pub embedding: Vec<f32>,
    /// `[positions, D]`, the vector of token type 0 added: all tokens are of that type.
    pub positions: Vec<f32>,
    /// After the sum of both.
    pub norm: Norm,
    /// Layers, first to last.
    pub blocks: Vec<BertBlock>,
    /// What one vector is made of the last layer with.
    pub head: EmbeddingHead,
}

/// One layer: `x = norm1(x + output(attention(query, key, value of x)))`, `x = norm2(x + down(gelu(up(x))))`.
#[derive(Debug, Clone, PartialEq)]
pub struct BertBlock {
    /// D to D.
    pub query: Linear,
    /// D to D.
    pub key: Linear,
    /// D to D.
    pub value: Linear,
    /// D to D.
    pub output: Linear,
    /// After attention.
    pub norm1: Norm,
    /// D to the width of the MLP.
    pub up: Linear,
    /// The width of the MLP to D.
    pub down: Linear,
    /// After the MLP.
    pub norm2: Norm,
}

impl BertModel {
    /// Brings the matrices of the blocks into the form that they are to be stored in.
    pub fn store_as(&mut self, storage: Storage) {
        for block in &mut self.blocks {
            let attention = [
                &mut block.query,
                &mut block.key,
                &mut block.value,
                &mut block.output,
            ];
            let mlp = [&mut block.up, &mut block.down];
            for linear in attention.into_iter().chain(mlp) {
                linear.store_as(storage);
            }
        }
    }
}

/// From the features of a text's tokens to one vector; see [`Embedding`](astra_bundle::Embedding).
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingHead {
    /// What of the tokens makes a vector.
    pub pooling: TextPooling,
    /// Text that is put before every text.
    pub prompt: String,
    /// Tokens at the beginning that are not pooled.
    pub skip: usize,
    /// What is done to the pooled vector, in order.
    pub steps: Vec<HeadStep>,
}

/// A step from the pooled vector to the embedding.
#[derive(Debug, Clone, PartialEq)]
pub enum HeadStep {
    /// To length 1.
    Normalize,
    /// To another width.
    Dense(DenseLayer),
    /// To the first channels alone, as many as this.
    Truncate(usize),
}

/// `activation(weight x + bias)`
#[derive(Debug, Clone, PartialEq)]
pub struct DenseLayer {
    /// Columns of the weight.
    pub inputs: usize,
    /// Rows of the weight.
    pub outputs: usize,
    /// `[outputs, inputs]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub bias: Option<Vec<f32>>,
    /// Applied to each output.
    pub activation: Activation,
}

impl EmbeddingHead {
    /// The mean of all tokens as it is.
    pub fn mean() -> Self {
        Self {
            pooling: TextPooling::Mean,
            prompt: String::new(),
            skip: 0,
            steps: Vec::new(),
        }
    }
}
