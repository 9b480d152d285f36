//! BERT (`model_type` `bert`), with the pooling that Sentence Transformers keep beside it.

use astra_bundle::{Task, TextPooling};
use serde::Deserialize;

use super::tensors::SafeTensors;
use super::{Content, Directory, text};
use crate::family::bert::{BertBlock, BertModel};
use crate::family::weights::{Linear, Norm};
use crate::source::sides::{MAX_SIDE, MAX_VOCAB, check_heads, check_layers, check_sides};
use crate::source::tensors::Tensors;
use crate::source::{Mismatch, SourceError, TextModel};

const MODULES: &str = "modules.json";
const SENTENCES: &str = "sentence_bert_config.json";
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

/// A step of a Sentence Transformer.
#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

/// What becomes one vector of those of the tokens.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PoolingConfig {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

#[derive(Debug, Deserialize)]
struct Sentences {
    max_seq_length: Option<usize>,
}

pub(super) fn import(
    directory: &Directory<'_>,
    tensors: &SafeTensors<'_>,
) -> Result<Content, SourceError> {
    let config: Config = directory.config()?;
    config.check().map_err(directory.in_config())?;
    let model = read(&config, tensors).map_err(directory.in_weights())?;
    let sentences: Option<Sentences> = directory.optional(SENTENCES)?;
    let most = config.max_position_embeddings;
    let limit = sentences.and_then(|sentences| sentences.max_seq_length);
    let limit = limit.unwrap_or(most).min(most);
    let mut text = text::read(directory, config.vocab_size, limit)?;
    text.input.learned_positions = true;
    Ok(text.of(TextModel::Bert(model), pooling(directory)?))
}

/// What the directory says; the mean, as it is, where it says nothing.
fn pooling(directory: &Directory<'_>) -> Result<Task, SourceError> {
    let modules: Vec<Module> = directory.optional(MODULES)?.unwrap_or_default();
    let is = |module: &Module, name: &str| module.r#type.ends_with(name);
    let normalize = modules.iter().any(|module| is(module, ".Normalize"));
    let Some(module) = modules.iter().find(|module| is(module, ".Pooling")) else {
        let pooling = TextPooling::Mean;
        return Ok(Task::Embedding { pooling, normalize });
    };
    let name = format!("{}/{}", module.path, super::CONFIG);
    let config: PoolingConfig = directory.optional(&name)?.unwrap_or_default();
    let pooling = config.pooling();
    let pooling = pooling.map_err(|mismatch| mismatch.at(&directory.dir.join(&name)))?;
    Ok(Task::Embedding { pooling, normalize })
}

impl PoolingConfig {
    fn pooling(&self) -> Result<TextPooling, Mismatch> {
        let modes = [
            ("pooling_mode_cls_token", self.pooling_mode_cls_token),
            ("pooling_mode_mean_tokens", self.pooling_mode_mean_tokens),
            ("pooling_mode_max_tokens", self.pooling_mode_max_tokens),
            (
                "pooling_mode_mean_sqrt_len_tokens",
                self.pooling_mode_mean_sqrt_len_tokens,
            ),
            (
                "pooling_mode_weightedmean_tokens",
                self.pooling_mode_weightedmean_tokens,
            ),
            ("pooling_mode_lasttoken", self.pooling_mode_lasttoken),
        ];
        let set: Vec<&str> = modes
            .into_iter()
            .filter_map(|(name, set)| set.then_some(name))
            .collect();
        match set.as_slice() {
            ["pooling_mode_cls_token"] => Ok(TextPooling::Cls),
            ["pooling_mode_mean_tokens"] => Ok(TextPooling::Mean),
            other => {
                let expected = "either pooling_mode_cls_token or pooling_mode_mean_tokens";
                Err(Mismatch::new(
                    "pooling modes",
                    format!("{other:?}"),
                    expected,
                ))
            }
        }
    }
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

fn read(config: &Config, tensors: &SafeTensors<'_>) -> Result<BertModel, Mismatch> {
    let prefix = tensors.prefix("bert.", "embeddings.word_embeddings.weight")?;
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
    })
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
        self.tensors
            .layer_norm(name, self.config.hidden_size, epsilon)
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
