//! Llama (`model_type` `llama`), Mistral (`mistral`) and Qwen2 (`qwen2`).

use super::llama_config::Config;
use super::rope::Rope;
use super::tensors::SafeTensors;
use super::window::Windows;
use super::{Content, Directory, text};
use crate::source::llama::{self, Names, Pairs};
use crate::source::tensors::Tensors;
use crate::source::{Mismatch, SourceError, TextModel};

const NAMES: Names = Names {
    embedding: "model.embed_tokens",
    norm: "model.norm",
    head: "lm_head",
    layers: "model.layers",
    norm1: "input_layernorm",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    output: "self_attn.o_proj",
    norm2: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
};

/// Of files of the model without its head, as `LlamaModel` saves them.
const NAMES_WITHOUT_PREFIX: Names = Names {
    embedding: "embed_tokens",
    norm: "norm",
    layers: "layers",
    ..NAMES
};

pub(super) fn import(
    directory: &Directory<'_>,
    tensors: &SafeTensors<'_>,
) -> Result<Content, SourceError> {
    let config: Config = directory.config()?;
    let windows: Windows = directory.config()?;
    let in_config = directory.in_config();
    config.check().map_err(&in_config)?;
    let longest = config.longest();
    let rope = Rope::read(&directory.config, longest).map_err(&in_config)?;
    let window = windows.width(&config.model_type, config.num_hidden_layers);
    let window = window.map_err(&in_config)?;
    let dims = config.dimensions(rope.theta);
    dims.check().map_err(&in_config)?;
    let mut text = text::read(directory, dims.vocab, limit(directory, longest, window))?;
    text.input.rotary = true;
    let names = names(&config, tensors).map_err(directory.in_weights())?;
    let model = llama::read(&dims, &names, Pairs::Halves, tensors);
    let mut model = model.map_err(directory.in_weights())?;
    check_biases(&config, &names, tensors).map_err(directory.in_weights())?;
    rope.scale(&mut model.frequencies);
    Ok(text.of(TextModel::Decoder(model.into())))
}

/// Tokens of the longest text: within the window full attention is the same.
fn limit(directory: &Directory<'_>, longest: usize, window: Option<usize>) -> usize {
    match window {
        Some(width) if width < longest => {
            directory.warn(format!(
                "texts are limited to {width} tokens instead of {longest}: with sliding_window = {width}, attention to more is not \
                 supported"
            ));
            width
        }
        _ => longest,
    }
}

/// What the tensors are called; refuses a file without head unless the embedding is that too.
///
/// As transformers 5 ties them (`tie_weights` in `modeling_utils.py`): a head of its own is used even where the configuration says
/// that it is the embedding, and the head alone is also the embedding.
fn names(config: &Config, tensors: &SafeTensors<'_>) -> Result<Names, Mismatch> {
    let has = |name: &str| tensors.contains(&format!("{name}.weight"));
    let bare = !has(NAMES.embedding) && has(NAMES_WITHOUT_PREFIX.embedding);
    let names = match bare {
        true => NAMES_WITHOUT_PREFIX,
        false => NAMES,
    };
    let tied = config.tie_word_embeddings == Some(true);
    if !tied && !has(names.head) {
        let name = format!("{}.weight", names.head);
        let expected = "a tensor of that name, as tie_word_embeddings of config.json is not true";
        return Err(Mismatch::missing(name, expected));
    }
    if tied && has(names.head) && !has(names.embedding) {
        return Ok(Names {
            embedding: names.head,
            ..names
        });
    }
    Ok(names)
}

/// Refuses biases that the configuration says there are none of: they would be added, which transformers does not.
fn check_biases(config: &Config, names: &Names, tensors: &SafeTensors<'_>) -> Result<(), Mismatch> {
    for part in config.parts_without_bias(names) {
        for layer in 0..config.num_hidden_layers {
            let name = format!("{}.{layer}.{part}.bias", names.layers);
            if !tensors.contains(&name) {
                continue;
            }
            if tensors.tensor(&name)?.values().iter().any(|&v| v != 0.0) {
                let expected = "no bias: neither attention_bias nor mlp_bias of config.json says that there is one";
                return Err(Mismatch::new(name, "a tensor", expected));
            }
        }
    }
    Ok(())
}
