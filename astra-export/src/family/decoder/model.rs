//! The weights of a causal language model, whatever file they came from.

use astra_bundle::Family;

use crate::family::weights::{Linear, Norm, RmsNorm};
use crate::narrow::{Blocks, Storage, quantize};

/// A model. Every length fits the dimensions; sources check that.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoder {
    /// What it is called in a bundle; a causal one.
    pub family: Family,
    /// D
    pub hidden: usize,
    /// Query heads, H.
    pub heads: usize,
    /// Heads of K and V, a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of a head, d.
    pub head_dim: usize,
    /// Tokens there are.
    pub vocab: usize,
    /// `[vocab, D]`
    pub embedding: Vec<f32>,
    /// The integers that the embedding is made of, if it is stored as such.
    pub embedding_blocks: Option<Box<Blocks>>,
    /// How a token knows its place.
    pub positions: Positions,
    /// Layers, first to last.
    pub blocks: Vec<DecoderBlock>,
    /// What the features go through at the end.
    pub norm: DecoderNorm,
    /// From features to scores of the next token; without it, the embedding transposed.
    pub head: Option<Linear>,
}

impl Decoder {
    /// Brings the matrices into the form that they are to be stored in.
    pub fn store_as(&mut self, storage: Storage) {
        match storage {
            Storage::Source => {}
            Storage::Float32 => self.embedding_blocks = None,
            Storage::Quantized(bits) => {
                let shape = [self.vocab, self.hidden];
                self.embedding_blocks = quantize(&self.embedding, shape, bits).map(Box::new);
                if let Some(blocks) = &self.embedding_blocks {
                    self.embedding = blocks.values();
                }
            }
        }
        for block in &mut self.blocks {
            block.store_as(storage);
        }
        if let Some(head) = &mut self.head {
            head.store_as(storage);
        }
    }
}

/// How a token knows its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// Queries and keys are turned: channels i and i + d / 2 of a head by the position times frequency i, `[d / 2]`.
    Rotary(Vec<f64>),
    /// Vectors are added to the embedding, `[positions, D]`.
    Learned(Vec<f32>),
}

impl Positions {
    /// Angles a position of the channels of a head; empty where positions are learned.
    pub fn frequencies(&self) -> &[f64] {
        match self {
            Self::Rotary(frequencies) => frequencies,
            Self::Learned(_) => &[],
        }
    }
}

/// One layer: `x += output(attention(query, key, value of norm1(x)))`, `x += mlp(norm2(x))`.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderBlock {
    /// Before attention.
    pub norm1: DecoderNorm,
    /// D to H d.
    pub query: Linear,
    /// D to W.
    pub key: Linear,
    /// D to W.
    pub value: Linear,
    /// H d to D.
    pub output: Linear,
    /// Before the MLP.
    pub norm2: DecoderNorm,
    /// The rest.
    pub mlp: Mlp,
}

impl DecoderBlock {
    fn store_as(&mut self, storage: Storage) {
        let attention = [
            &mut self.query,
            &mut self.key,
            &mut self.value,
            &mut self.output,
        ];
        let mlp = match &mut self.mlp {
            Mlp::Gated { gate, up, down } => vec![gate, up, down],
            Mlp::Plain { up, down } => vec![up, down],
        };
        for linear in attention.into_iter().chain(mlp) {
            linear.store_as(storage);
        }
    }
}

/// What is between two steps.
#[derive(Debug, Clone, PartialEq)]
pub enum DecoderNorm {
    /// Layer normalization.
    Layer(Norm),
    /// By the root of the mean square.
    Rms(RmsNorm),
}

/// What a layer does to each token alone.
#[derive(Debug, Clone, PartialEq)]
pub enum Mlp {
    /// `down(silu(gate(n)) * up(n))` (Shazeer, "GLU Variants Improve Transformer", 2020).
    Gated {
        /// D to the width of the MLP.
        gate: Linear,
        /// D to the width of the MLP.
        up: Linear,
        /// The width of the MLP to D.
        down: Linear,
    },
    /// `down(gelu(up(n)))` with the approximation of GELU by tanh.
    Plain {
        /// D to the width of the MLP.
        up: Linear,
        /// The width of the MLP to D.
        down: Linear,
    },
}
