//! BERT (`model_type` `bert`), with what the `sentence-transformers` library keeps beside it.
//!
//! Tensors of heads (`cls.`, `classifier.`, `pooler.`) and buffers such as `position_ids` are of no use to an embedding.

use serde::Deserialize;

use super::sentences::Sentences;
use super::tensors::SafeTensors;
use super::{Content, Directory, text, wordpiece};
use crate::family::bert::{BertBlock, BertModel, EmbeddingHead};
use crate::family::weights::{Linear, Norm};
use crate::source::sides::{MAX_SIDE, MAX_VOCAB, check_heads, check_layers, check_sides};
use crate::source::tensors::Tensors;
use crate::source::{Mismatch, SourceError, TextModel};

const EMBEDDING: &str = "embeddings.word_embeddings.weight";

/// Optional fields have the defaults of the `transformers` library where they are left out.
#[derive(Debug, Deserialize)]
struct Config {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: Option<usize>,
    layer_norm_eps: Option<f32>,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
}

pub(super) fn import(
    directory: &Directory<'_>,
    tensors: &SafeTensors<'_>,
) -> Result<Content, SourceError> {
    let config: Config = directory.config()?;
    config.check().map_err(directory.in_config())?;
    let mut sentences = Sentences::read(directory, config.hidden_size)?;
    let most = config.max_position_embeddings;
    let limit = match sentences.limit {
        Some(limit) => limit,
        None => text::model_max_length(directory)?.unwrap_or(most),
    };
    let mut text = text::read(directory, config.vocab_size, limit.min(most))?;
    text.input.learned_positions = true;
    wordpiece::follow_configuration(directory, &mut text)?;
    sentences.apply_to(directory, &mut text)?;
    let model = read(&config, tensors, sentences.head).map_err(directory.in_weights())?;
    Ok(text.of(TextModel::Bert(model)))
}

impl Config {
    /// Refuses what would be computed otherwise.
    fn check(&self) -> Result<(), Mismatch> {
        for (name, found, expected) in [
            ("hidden_act", &self.hidden_act, "gelu"),
            (
                "position_embedding_type",
                &self.position_embedding_type,
                "absolute",
            ),
        ] {
            if let Some(found) = found.as_deref().filter(|found| *found != expected) {
                let expected = format!("{expected:?}");
                return Err(Mismatch::new(name, format!("{found:?}"), expected));
            }
        }
        check_sides([
            ("hidden_size", self.hidden_size, MAX_SIDE),
            ("num_hidden_layers", self.num_hidden_layers, MAX_SIDE),
            ("num_attention_heads", self.num_attention_heads, MAX_SIDE),
            ("intermediate_size", self.intermediate_size, MAX_SIDE),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                MAX_SIDE,
            ),
            ("vocab_size", self.vocab_size, MAX_VOCAB),
        ])?;
        check_heads(
            "num_attention_heads",
            self.num_attention_heads,
            self.hidden_size,
        )
    }
}

fn read(
    config: &Config,
    tensors: &SafeTensors<'_>,
    head: EmbeddingHead,
) -> Result<BertModel, Mismatch> {
    let prefix = prefix(tensors)?;
    let prefix = prefix.as_str();
    let reader = Reader {
        config,
        tensors,
        prefix,
    };
    let beyond = reader.layer(config.num_hidden_layers, "attention.self.query.weight");
    check_layers(tensors, config.num_hidden_layers, &beyond)?;
    let blocks = (0..config.num_hidden_layers).map(|number| reader.block(number));
    Ok(BertModel {
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        vocab: config.vocab_size,
        embedding: reader.table("word", config.vocab_size)?,
        positions: reader.positions()?,
        norm: reader.norm(&format!("{prefix}embeddings.LayerNorm"))?,
        blocks: blocks.collect::<Result<_, _>>()?,
        head,
    })
}

/// What stands before the names of all tensors: `bert.` or nothing as the `transformers` library writes them, or what another
/// program put there, such as `0.auto_model.`.
fn prefix(tensors: &SafeTensors<'_>) -> Result<String, Mismatch> {
    let mut found: Vec<&str> = tensors
        .names()
        .filter_map(|name| name.strip_suffix(EMBEDDING))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .collect();
    found.sort_unstable();
    let usual = ["bert.", ""]
        .into_iter()
        .find(|usual| found.contains(usual));
    match (usual, found.as_slice()) {
        (Some(prefix), _) | (None, &[prefix]) => Ok(prefix.to_owned()),
        (None, []) => Err(Mismatch::missing(EMBEDDING, "a tensor of that name")),
        (None, several) => Err(Mismatch::new(
            EMBEDDING,
            format!("several, with the prefixes {several:?}"),
            "one encoder",
        )),
    }
}

struct Reader<'a> {
    config: &'a Config,
    tensors: &'a SafeTensors<'a>,
    prefix: &'a str,
}

impl Reader<'_> {
    fn layer(&self, number: usize, part: &str) -> String {
        format!("{}encoder.layer.{number}.{part}", self.prefix)
    }

    fn table(&self, of: &str, rows: usize) -> Result<Vec<f32>, Mismatch> {
        let name = format!("{}embeddings.{of}_embeddings.weight", self.prefix);
        self.tensors.values(&name, &[rows, self.config.hidden_size])
    }

    /// Those of the positions, with that of the first type of token added.
    fn positions(&self) -> Result<Vec<f32>, Mismatch> {
        let mut positions = self.table("position", self.config.max_position_embeddings)?;
        let kinds = self.table("token_type", self.config.type_vocab_size.unwrap_or(2))?;
        for row in positions.chunks_mut(self.config.hidden_size) {
            for (value, kind) in row.iter_mut().zip(&kinds) {
                *value += kind;
            }
        }
        Ok(positions)
    }

    fn norm(&self, name: &str) -> Result<Norm, Mismatch> {
        let epsilon = self.config.layer_norm_eps.unwrap_or(1e-12);
        let channels = self.config.hidden_size;
        // Checkpoints that were converted from TensorFlow have its names.
        let [gamma, beta] = ["gamma", "beta"].map(|part| format!("{name}.{part}"));
        if !self.tensors.contains(&gamma) {
            return self.tensors.layer_norm(name, channels, epsilon);
        }
        Ok(Norm {
            weight: self.tensors.values(&gamma, &[channels])?,
            bias: self.tensors.values(&beta, &[channels])?,
            epsilon,
        })
    }

    fn block(&self, number: usize) -> Result<BertBlock, Mismatch> {
        let (hidden, mlp) = (self.config.hidden_size, self.config.intermediate_size);
        let linear = |part: &str, inputs, outputs| -> Result<Linear, Mismatch> {
            let name = self.layer(number, part);
            self.tensors.linear(&name, inputs, outputs)
        };
        let norm = |part: &str| self.norm(&self.layer(number, part));
        Ok(BertBlock {
            query: linear("attention.self.query", hidden, hidden)?,
            key: linear("attention.self.key", hidden, hidden)?,
            value: linear("attention.self.value", hidden, hidden)?,
            output: linear("attention.output.dense", hidden, hidden)?,
            norm1: norm("attention.output.LayerNorm")?,
            up: linear("intermediate.dense", hidden, mlp)?,
            down: linear("output.dense", mlp, hidden)?,
            norm2: norm("output.LayerNorm")?,
        })
    }
}
