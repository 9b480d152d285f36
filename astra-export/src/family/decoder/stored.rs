//! A causal language model in the weights of a bundle.

use astra_bundle::{BundleError, BundleWriter, ExactBlock, Matrix, Shape, TensorRef};

use super::SINK;
use super::model::{Decoder, DecoderBlock, DecoderNorm, Mlp, Positions};
use crate::family::stored::{
    StoredAttention, matrix, store_blocks, store_exact, store_linear, store_norm, store_rms_norm,
};
use crate::graph::{Grouped, StoredLinear, StoredNorm, StoredTable};

/// Every tensor the graphs refer to, each stored once.
#[derive(Debug)]
pub struct StoredDecoder {
    /// Dimensions at this number of tokens.
    pub shape: Shape,
    /// What exact mode decodes with, by block.
    pub exact: Vec<ExactBlock>,
    pub(super) vocab: usize,
    /// `[vocab, D]`
    pub(super) embedding: StoredTable,
    pub(super) positions: StoredPositions,
    pub(super) blocks: Vec<StoredBlock>,
    pub(super) norm: StoredNorm,
    pub(super) head: Option<StoredLinear>,
}

#[derive(Debug)]
pub(super) enum StoredPositions {
    /// `[tokens, d / 2]` each.
    Rotary { cos: TensorRef, sin: TensorRef },
    /// `[tokens, D]`
    Learned(TensorRef),
}

#[derive(Debug)]
pub(super) struct StoredBlock {
    pub(super) norm1: StoredNorm,
    pub(super) attention: StoredAttention,
    pub(super) norm2: StoredNorm,
    pub(super) mlp: StoredMlp,
}

#[derive(Debug)]
pub(super) enum StoredMlp {
    Gated {
        gate: StoredLinear,
        up: StoredLinear,
        down: StoredLinear,
    },
    Plain {
        up: StoredLinear,
        down: StoredLinear,
    },
}

impl StoredDecoder {
    /// Stores `model` for texts of up to `max_tokens` tokens, the sink counted.
    ///
    /// # Errors
    /// Whatever the writer says.
    pub fn store(
        writer: &mut BundleWriter,
        model: &Decoder,
        max_tokens: usize,
    ) -> Result<Self, BundleError> {
        let embedding = store_embedding(writer, model)?;
        let positions = store_positions(writer, model, max_tokens)?;
        let mut blocks = Vec::new();
        for block in &model.blocks {
            blocks.push(store_block(writer, block)?);
        }
        let keys_and_values = model.blocks.iter().map(|block| [&block.key, &block.value]);
        let exact = store_exact(writer, keys_and_values)?;
        let head = model.head.as_ref();
        Ok(Self {
            shape: Shape {
                hidden: model.hidden,
                heads: model.heads,
                kv_heads: model.kv_heads,
                head_dim: model.head_dim,
                blocks: blocks.len(),
                tokens: max_tokens.saturating_sub(SINK),
                class_tokens: SINK,
            },
            exact,
            vocab: model.vocab,
            embedding,
            positions,
            blocks,
            norm: store_any_norm(writer, &model.norm)?,
            head: head.map(|head| store_linear(writer, head)).transpose()?,
        })
    }

    /// Every matrix.
    pub fn matrices(&self) -> Vec<Matrix> {
        let embedding = match &self.embedding {
            StoredTable::Float(_) => None,
            StoredTable::Blocks { blocks, .. } => Some(blocks.clone()),
        };
        let mut matrices = vec![Matrix {
            name: "embedding".to_owned(),
            inputs: self.shape.hidden,
            outputs: self.vocab,
            blocks: embedding,
        }];
        for (number, block) in self.blocks.iter().enumerate() {
            let prefix = format!("block_{number:02}.");
            matrices.extend(block.attention.matrices(&prefix));
            matrices.extend(block.mlp.matrices(&prefix));
        }
        let head = self.head.as_ref();
        matrices.extend(head.map(|head| matrix("head".to_owned(), head)));
        matrices
    }

    pub(super) fn grouped(&self) -> Grouped {
        Grouped {
            heads: self.shape.heads,
            kv_heads: self.shape.kv_heads,
            head_dim: self.shape.head_dim,
        }
    }

    pub(super) fn is_rotary(&self) -> bool {
        matches!(self.positions, StoredPositions::Rotary { .. })
    }
}

impl StoredMlp {
    fn matrices(&self, prefix: &str) -> Vec<Matrix> {
        let all = match self {
            Self::Gated { gate, up, down } => vec![("gate", gate), ("up", up), ("down", down)],
            Self::Plain { up, down } => vec![("up", up), ("down", down)],
        };
        let named = all.into_iter();
        let named = named.map(|(name, linear)| matrix(format!("{prefix}{name}"), linear));
        named.collect()
    }
}

fn store_embedding(writer: &mut BundleWriter, model: &Decoder) -> Result<StoredTable, BundleError> {
    let (rows, width) = (model.vocab, model.hidden);
    Ok(match &model.embedding_blocks {
        None => StoredTable::Float(writer.weights(&model.embedding, &[rows, width])?),
        Some(blocks) => StoredTable::Blocks {
            width,
            rows,
            blocks: store_blocks(writer, blocks)?,
        },
    })
}

fn store_positions(
    writer: &mut BundleWriter,
    model: &Decoder,
    max_tokens: usize,
) -> Result<StoredPositions, BundleError> {
    match &model.positions {
        Positions::Learned(table) => {
            let rows = table.chunks(model.hidden.max(1)).take(max_tokens);
            let table = rows.collect::<Vec<_>>().concat();
            let rows = table.len() / model.hidden.max(1);
            let table = writer.weights(&table, &[rows, model.hidden])?;
            Ok(StoredPositions::Learned(table))
        }
        Positions::Rotary(frequencies) => {
            let angles = (0..max_tokens).flat_map(|position| {
                let turn = move |frequency: &f64| position as f64 * frequency;
                frequencies.iter().map(turn)
            });
            let table = |of: fn(f64) -> f64| -> Vec<f32> {
                angles.clone().map(|angle| of(angle) as f32).collect()
            };
            let dims = [max_tokens, frequencies.len()];
            Ok(StoredPositions::Rotary {
                cos: writer.weights(&table(f64::cos), &dims)?,
                sin: writer.weights(&table(f64::sin), &dims)?,
            })
        }
    }
}

fn store_block(
    writer: &mut BundleWriter,
    block: &DecoderBlock,
) -> Result<StoredBlock, BundleError> {
    Ok(StoredBlock {
        norm1: store_any_norm(writer, &block.norm1)?,
        attention: StoredAttention::store(
            writer,
            [&block.query, &block.key, &block.value, &block.output],
        )?,
        norm2: store_any_norm(writer, &block.norm2)?,
        mlp: match &block.mlp {
            Mlp::Gated { gate, up, down } => StoredMlp::Gated {
                gate: store_linear(writer, gate)?,
                up: store_linear(writer, up)?,
                down: store_linear(writer, down)?,
            },
            Mlp::Plain { up, down } => StoredMlp::Plain {
                up: store_linear(writer, up)?,
                down: store_linear(writer, down)?,
            },
        },
    })
}

fn store_any_norm(
    writer: &mut BundleWriter,
    norm: &DecoderNorm,
) -> Result<StoredNorm, BundleError> {
    match norm {
        DecoderNorm::Layer(norm) => store_norm(writer, norm),
        DecoderNorm::Rms(norm) => store_rms_norm(writer, norm),
    }
}
