//! Llama, and what shares its shape: RMSNorm, rotary positions, grouped K/V heads, a gated MLP. Qwen2 adds biases to queries,
//! keys and values.

use astra_bundle::Family;

use super::decoder::{Decoder, DecoderBlock, DecoderNorm, Mlp, Positions};
use super::weights::{Linear, RmsNorm};
use crate::narrow::Blocks;

/// A model. Every length fits the dimensions; sources check that.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaModel {
    /// D
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Heads of K and V, a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of a head, d, even.
    pub head_dim: usize,
    /// Tokens there are.
    pub vocab: usize,
    /// `[vocab, D]`
    pub embedding: Vec<f32>,
    /// The integers that the embedding is made of, if it is stored as such.
    pub embedding_blocks: Option<Box<Blocks>>,
    /// Angle a position by channel, `[d / 2]`; [`rope_frequencies`] for most.
    pub frequencies: Vec<f64>,
    /// Layers, first to last.
    pub blocks: Vec<LlamaBlock>,
    /// What the features go through at the end.
    pub norm: RmsNorm,
    /// From features to scores of the next token; without it, the embedding transposed.
    pub head: Option<Linear>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaBlock {
    /// Before attention.
    pub norm1: RmsNorm,
    /// D to the width of all heads.
    pub query: Linear,
    /// D to that of the K/V heads.
    pub key: Linear,
    /// D to that of the K/V heads.
    pub value: Linear,
    /// The width of all heads to D.
    pub output: Linear,
    /// Before the MLP.
    pub norm2: RmsNorm,
    /// D to the width of the MLP, through SiLU.
    pub gate: Linear,
    /// D to the width of the MLP.
    pub up: Linear,
    /// The width of the MLP to D.
    pub down: Linear,
}

/// `base^(-2 i / d)` for channel i of the first half of a head (Su et al., "RoFormer", 2021, equation 15).
pub fn rope_frequencies(base: f64, head_dim: usize) -> Vec<f64> {
    let exponent = |i: usize| -2.0 * i as f64 / head_dim as f64;
    (0..head_dim / 2).map(|i| base.powf(exponent(i))).collect()
}

impl From<LlamaModel> for Decoder {
    fn from(model: LlamaModel) -> Self {
        Self {
            family: Family::Llama,
            hidden: model.hidden,
            heads: model.heads,
            kv_heads: model.kv_heads,
            head_dim: model.head_dim,
            vocab: model.vocab,
            embedding: model.embedding,
            embedding_blocks: model.embedding_blocks,
            positions: Positions::Rotary(model.frequencies),
            blocks: model.blocks.into_iter().map(DecoderBlock::from).collect(),
            norm: DecoderNorm::Rms(model.norm),
            head: model.head,
        }
    }
}

impl From<LlamaBlock> for DecoderBlock {
    fn from(block: LlamaBlock) -> Self {
        let LlamaBlock { gate, up, down, .. } = block;
        Self {
            norm1: DecoderNorm::Rms(block.norm1),
            query: block.query,
            key: block.key,
            value: block.value,
            output: block.output,
            norm2: DecoderNorm::Rms(block.norm2),
            mlp: Mlp::Gated { gate, up, down },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_fall_from_one() {
        let found = rope_frequencies(10_000.0, 8);
        for (found, expected) in found.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
        }
        assert_eq!(found.len(), 4);
    }
}
