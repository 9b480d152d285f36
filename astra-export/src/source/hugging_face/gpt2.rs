//! GPT-2 (`model_type` `gpt2`).
//!
//! Its linear maps are stored as `[inputs, outputs]`, and queries, keys and values are one map of three parts.

use serde::Deserialize;

use super::tensors::SafeTensors;
use super::{Content, Directory, text};
use crate::family::decoder::Decoder;
use crate::family::gpt2::{Gpt2Block, Gpt2Model};
use crate::family::weights::{Linear, Norm};
use crate::source::llama::check_head;
use crate::source::sides::{MAX_SIDE, MAX_VOCAB, check_heads, check_layers, check_sides};
use crate::source::tensors::Tensors;
use crate::source::{Mismatch, SourceError, TextModel};

/// Scores of the next token, where they are not the products with the embedding.
const HEAD: &str = "lm_head";

/// Optional fields have the defaults of the `transformers` library where they are left out.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(alias = "hidden_size")]
    n_embd: usize,
    #[serde(alias = "num_hidden_layers")]
    n_layer: usize,
    #[serde(alias = "num_attention_heads")]
    n_head: usize,
    n_inner: Option<usize>,
    vocab_size: usize,
    #[serde(alias = "max_position_embeddings")]
    n_positions: usize,
    layer_norm_epsilon: Option<f32>,
    activation_function: Option<String>,
    scale_attn_weights: Option<bool>,
    scale_attn_by_inverse_layer_idx: Option<bool>,
    tie_word_embeddings: Option<bool>,
}

pub(super) fn import(
    directory: &Directory<'_>,
    tensors: &SafeTensors<'_>,
) -> Result<Content, SourceError> {
    let config: Config = directory.config()?;
    config.check().map_err(directory.in_config())?;
    let mut text = text::read(directory, config.vocab_size, config.n_positions)?;
    text.input.learned_positions = true;
    let model = read(&config, tensors).map_err(directory.in_weights())?;
    let head = head(&config, &model, tensors).map_err(directory.in_weights())?;
    let model = Decoder {
        head,
        ..model.into()
    };
    Ok(text.of(TextModel::Decoder(model)))
}

/// The head of its own, if there is one. As in transformers 5 (`tie_weights` in `modeling_utils.py`) one that differs from the
/// embedding is used even where the configuration says that it is the embedding.
fn head(
    config: &Config,
    model: &Gpt2Model,
    tensors: &SafeTensors<'_>,
) -> Result<Option<Linear>, Mismatch> {
    let name = format!("{HEAD}.weight");
    if !tensors.contains(&name) {
        if config.tie_word_embeddings == Some(false) {
            let expected = "a tensor of that name, as tie_word_embeddings of config.json is false";
            return Err(Mismatch::missing(name, expected));
        }
        return Ok(None);
    }
    let dims = [config.vocab_size, config.n_embd];
    if tensors.values(&name, &dims)? == model.embedding {
        return Ok(None);
    }
    let head = tensors.linear(HEAD, config.n_embd, config.vocab_size)?;
    Ok(Some(head))
}

impl Config {
    fn mlp(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Refuses what would be computed otherwise.
    fn check(&self) -> Result<(), Mismatch> {
        match self.activation_function.as_deref() {
            // Names of transformers for one formula.
            None | Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_python_tanh") => {}
            Some(other) => {
                let found = format!("{other:?}");
                return Err(Mismatch::new("activation_function", found, "\"gelu_new\""));
            }
        }
        for (name, found, expected) in [
            ("scale_attn_weights", self.scale_attn_weights, true),
            (
                "scale_attn_by_inverse_layer_idx",
                self.scale_attn_by_inverse_layer_idx,
                false,
            ),
        ] {
            let found = found.unwrap_or(expected);
            if found != expected {
                return Err(Mismatch::new(name, found, expected));
            }
        }
        check_sides([
            ("n_embd", self.n_embd, MAX_SIDE / 4),
            ("n_layer", self.n_layer, MAX_SIDE),
            ("n_head", self.n_head, MAX_SIDE),
            ("n_inner", self.mlp(), MAX_SIDE),
            ("n_positions", self.n_positions, MAX_SIDE),
            ("vocab_size", self.vocab_size, MAX_VOCAB),
        ])?;
        check_heads("n_head", self.n_head, self.n_embd)?;
        check_head(self.n_embd / self.n_head)
    }
}

fn read(config: &Config, tensors: &SafeTensors<'_>) -> Result<Gpt2Model, Mismatch> {
    let prefix = tensors.prefix("transformer.", "wte.weight")?;
    let reader = Reader {
        config,
        tensors,
        prefix,
    };
    let hidden = config.n_embd;
    let blocks = (0..config.n_layer).map(|number| reader.block(number));
    let beyond = format!("{prefix}h.{}.ln_1.weight", config.n_layer);
    check_layers(tensors, config.n_layer, &beyond)?;
    let table = |name: &str, rows| tensors.values(&format!("{prefix}{name}"), &[rows, hidden]);
    Ok(Gpt2Model {
        hidden,
        heads: config.n_head,
        vocab: config.vocab_size,
        embedding: table("wte.weight", config.vocab_size)?,
        positions: table("wpe.weight", config.n_positions)?,
        blocks: blocks.collect::<Result<_, _>>()?,
        norm: reader.norm("ln_f")?,
    })
}

struct Reader<'a> {
    config: &'a Config,
    tensors: &'a SafeTensors<'a>,
    prefix: &'a str,
}

impl Reader<'_> {
    fn norm(&self, name: &str) -> Result<Norm, Mismatch> {
        let epsilon = self.config.layer_norm_epsilon.unwrap_or(1e-5);
        let name = format!("{}{name}", self.prefix);
        self.tensors.layer_norm(&name, self.config.n_embd, epsilon)
    }

    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, Mismatch> {
        let of = |part: &str| format!("{}{name}.{part}", self.prefix);
        Ok(Linear {
            inputs,
            outputs,
            weight: self.tensors.values(&of("weight"), &[inputs, outputs])?,
            bias: self.tensors.values(&of("bias"), &[outputs])?,
            blocks: None,
        })
    }

    fn block(&self, number: usize) -> Result<Gpt2Block, Mismatch> {
        let (hidden, mlp) = (self.config.n_embd, self.config.mlp());
        let layer = |part: &str| format!("h.{number}.{part}");
        let joint = self.linear(&layer("attn.c_attn"), hidden, 3 * hidden)?;
        Ok(Gpt2Block {
            norm1: self.norm(&layer("ln_1"))?,
            query: part(&joint, hidden, 0),
            key: part(&joint, hidden, 1),
            value: part(&joint, hidden, 2),
            output: self.linear(&layer("attn.c_proj"), hidden, hidden)?,
            norm2: self.norm(&layer("ln_2"))?,
            up: self.linear(&layer("mlp.c_fc"), hidden, mlp)?,
            down: self.linear(&layer("mlp.c_proj"), mlp, hidden)?,
        })
    }
}

/// The outputs `number * width ..` of a map.
fn part(joint: &Linear, width: usize, number: usize) -> Linear {
    let columns = |row: &[f32]| -> Vec<f32> {
        let columns = row.iter().skip(number * width);
        columns.take(width).copied().collect()
    };
    let rows = joint.weight.chunks(joint.outputs.max(1));
    Linear {
        inputs: joint.inputs,
        outputs: width,
        weight: rows.flat_map(columns).collect(),
        bias: columns(&joint.bias),
        blocks: None,
    }
}
