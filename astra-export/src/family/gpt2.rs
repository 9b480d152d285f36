//! GPT-2: layer normalization, learned positions, as many K/V heads as query heads, a plain MLP, the embedding for a head.

use astra_bundle::Family;

use super::decoder::{Decoder, DecoderBlock, DecoderNorm, Mlp, Positions};
use super::weights::{Linear, Norm};

/// A model. Every length fits the dimensions; sources check that.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpt2Model {
    /// D
    pub hidden: usize,
    /// Attention heads, all of width D / heads.
    pub heads: usize,
    /// Tokens there are.
    pub vocab: usize,
    /// `[vocab, D]`
    pub embedding: Vec<f32>,
    /// `[positions, D]`
    pub positions: Vec<f32>,
    /// Layers, first to last.
    pub blocks: Vec<Gpt2Block>,
    /// What the features go through at the end.
    pub norm: Norm,
}

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpt2Block {
    /// Before attention.
    pub norm1: Norm,
    /// D to D.
    pub query: Linear,
    /// D to D.
    pub key: Linear,
    /// D to D.
    pub value: Linear,
    /// D to D.
    pub output: Linear,
    /// Before the MLP.
    pub norm2: Norm,
    /// D to the width of the MLP, through GELU.
    pub up: Linear,
    /// The width of the MLP to D.
    pub down: Linear,
}

impl From<Gpt2Model> for Decoder {
    fn from(model: Gpt2Model) -> Self {
        Self {
            family: Family::Gpt2,
            hidden: model.hidden,
            heads: model.heads,
            kv_heads: model.heads,
            head_dim: model.hidden / model.heads.max(1),
            vocab: model.vocab,
            embedding: model.embedding,
            embedding_blocks: None,
            positions: Positions::Learned(model.positions),
            blocks: model.blocks.into_iter().map(DecoderBlock::from).collect(),
            norm: DecoderNorm::Layer(model.norm),
            head: None,
        }
    }
}

impl From<Gpt2Block> for DecoderBlock {
    fn from(block: Gpt2Block) -> Self {
        let Gpt2Block { up, down, .. } = block;
        Self {
            norm1: DecoderNorm::Layer(block.norm1),
            query: block.query,
            key: block.key,
            value: block.value,
            output: block.output,
            norm2: DecoderNorm::Layer(block.norm2),
            mlp: Mlp::Plain { up, down },
        }
    }
}
