//! The weights of a BERT, whatever file they came from.

use crate::family::weights::{Linear, Norm};

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
