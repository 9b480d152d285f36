//! Small models that read, with random weights.

use astra_export::family::bert::{BertBlock, BertModel, EmbeddingHead};
use astra_export::family::decoder::Decoder;
use astra_export::family::gpt2::{Gpt2Block, Gpt2Model};
use astra_export::family::llama::{LlamaBlock, LlamaModel, rope_frequencies};
use astra_export::family::weights::RmsNorm;

use crate::models::{HEADS, HIDDEN, MLP, Random};

pub(crate) const VOCAB: usize = 37;
/// Longest text.
pub(crate) const POSITIONS: usize = 24;
const BLOCKS: usize = 3;
/// Query heads of a llama, wider together than a token, and K/V heads.
pub(crate) const QUERY_HEADS: usize = 6;
pub(crate) const KV_HEADS: usize = 2;
pub(crate) const HEAD_DIM: usize = 8;

impl Random {
    pub(crate) fn rms_norm(&mut self) -> RmsNorm {
        RmsNorm {
            weight: self.around(1.0, 0.5, HIDDEN),
            epsilon: 1e-5,
        }
    }

    pub(crate) fn ids(&mut self, count: usize) -> Vec<u32> {
        let bytes = self.bytes(count);
        bytes
            .into_iter()
            .map(|b| u32::from(b) % VOCAB as u32)
            .collect()
    }

    /// With biases to queries, keys and values, as Qwen2 has; without, they are zeros.
    pub(crate) fn llama(&mut self, biases: bool, tied: bool) -> LlamaModel {
        let block = |random: &mut Self| {
            let values = KV_HEADS * HEAD_DIM;
            let mut block = LlamaBlock {
                norm1: random.rms_norm(),
                query: random.linear(HIDDEN, QUERY_HEADS * HEAD_DIM),
                key: random.linear(HIDDEN, values),
                value: random.linear(HIDDEN, values),
                output: random.linear(QUERY_HEADS * HEAD_DIM, HIDDEN),
                norm2: random.rms_norm(),
                gate: random.linear(HIDDEN, MLP),
                up: random.linear(HIDDEN, MLP),
                down: random.linear(MLP, HIDDEN),
            };
            for linear in [
                &mut block.output,
                &mut block.gate,
                &mut block.up,
                &mut block.down,
            ] {
                linear.bias.fill(0.0);
            }
            if !biases {
                for linear in [&mut block.query, &mut block.key, &mut block.value] {
                    linear.bias.fill(0.0);
                }
            }
            block
        };
        LlamaModel {
            hidden: HIDDEN,
            heads: QUERY_HEADS,
            kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
            vocab: VOCAB,
            embedding: self.around(0.0, 1.0, VOCAB * HIDDEN),
            embedding_blocks: None,
            frequencies: rope_frequencies(100.0, HEAD_DIM),
            blocks: (0..BLOCKS).map(|_| block(self)).collect(),
            norm: self.rms_norm(),
            head: (!tied).then(|| {
                let mut head = self.linear(HIDDEN, VOCAB);
                head.bias.fill(0.0);
                head
            }),
        }
    }

    pub(crate) fn gpt2(&mut self) -> Gpt2Model {
        let block = |random: &mut Self| Gpt2Block {
            norm1: random.norm(),
            query: random.linear(HIDDEN, HIDDEN),
            key: random.linear(HIDDEN, HIDDEN),
            value: random.linear(HIDDEN, HIDDEN),
            output: random.linear(HIDDEN, HIDDEN),
            norm2: random.norm(),
            up: random.linear(HIDDEN, MLP),
            down: random.linear(MLP, HIDDEN),
        };
        Gpt2Model {
            hidden: HIDDEN,
            heads: HEADS,
            vocab: VOCAB,
            embedding: self.around(0.0, 1.0, VOCAB * HIDDEN),
            positions: self.around(0.0, 1.0, POSITIONS * HIDDEN),
            blocks: (0..BLOCKS).map(|_| block(self)).collect(),
            norm: self.norm(),
        }
    }

    pub(crate) fn bert(&mut self) -> BertModel {
        let block = |random: &mut Self| BertBlock {
            query: random.linear(HIDDEN, HIDDEN),
            key: random.linear(HIDDEN, HIDDEN),
            value: random.linear(HIDDEN, HIDDEN),
            output: random.linear(HIDDEN, HIDDEN),
            norm1: random.norm(),
            up: random.linear(HIDDEN, MLP),
            down: random.linear(MLP, HIDDEN),
            norm2: random.norm(),
        };
        BertModel {
            hidden: HIDDEN,
            heads: HEADS,
            vocab: VOCAB,
            embedding: self.around(0.0, 1.0, VOCAB * HIDDEN),
            positions: self.around(0.0, 1.0, POSITIONS * HIDDEN),
            norm: self.norm(),
            blocks: (0..BLOCKS).map(|_| block(self)).collect(),
            head: EmbeddingHead::mean(),
        }
    }

    /// Every kind of causal model.
    pub(crate) fn decoders(&mut self) -> Vec<(&'static str, Decoder)> {
        vec![
            ("llama", self.llama(false, true).into()),
            (
                "llama with biases and a head",
                self.llama(true, false).into(),
            ),
            ("gpt2", self.gpt2().into()),
        ]
    }
}
