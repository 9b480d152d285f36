//! Directories of BERT and of sentence transformers.

use astra_export::source::TextModel;
use serde_json::json;

use super::directory::Directory;
use super::{Tensors, put, put_linear, put_norm};
use crate::models::{HEADS, HIDDEN, MLP, Random};
use crate::text_models::{POSITIONS, VOCAB};

#[test]
fn bert_directories_are_read_to_the_last_bit_() {
    let mut model = Random::new(45).bert();
    model.norm.epsilon = 1e-12;
    let norms = model
        .blocks
        .iter_mut()
        .flat_map(|b| [&mut b.norm1, &mut b.norm2]);
    norms.for_each(|norm| norm.epsilon = 1e-12);
    let kinds = Random::new(46).around(0.0, 1.0, 2 * HIDDEN);
    let mut tensors = Tensors::new();
    let all = &mut tensors;
    for (part, rows, values) in [
        ("word", VOCAB, &model.embedding),
        ("position", POSITIONS, &model.positions),
        ("token_type", 2, &kinds),
    ] {
        let name = format!("embeddings.{part}_embeddings.weight");
        put(all, &name, &[rows, HIDDEN], values);
    }
    put_norm(all, "embeddings.LayerNorm", &model.norm);
    for (number, block) in model.blocks.iter().enumerate() {
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        for (part, linear) in [
            ("attention.self.query", &block.query),
            ("attention.self.key", &block.key),
            ("attention.self.value", &block.value),
            ("attention.output.dense", &block.output),
            ("intermediate.dense", &block.up),
            ("output.dense", &block.down),
        ] {
            put_linear(all, &name(part), linear);
        }
        put_norm(all, &name("attention.output.LayerNorm"), &block.norm1);
        put_norm(all, &name("output.LayerNorm"), &block.norm2);
    }
    let config = json!({
        "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": 3,
        "num_attention_heads": HEADS, "intermediate_size": MLP, "vocab_size": VOCAB,
        "max_position_embeddings": POSITIONS, "hidden_act": "gelu", "type_vocab_size": 2,
    });
    let mut directory = Directory::new(config, tensors);
    for row in model.positions.chunks_mut(HIDDEN) {
        row.iter_mut()
            .zip(&kinds)
            .for_each(|(value, kind)| *value += kind);
    }
    let found = directory.read();
    assert_eq!(found.model, TextModel::Bert(model));
    assert_eq!(found.input.max_tokens, POSITIONS);
    directory.check_every_tensor(&[".bias"]);
}
