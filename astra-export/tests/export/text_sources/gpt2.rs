//! Directories of GPT-2.

use astra_export::family::decoder::Decoder;
use astra_export::family::weights::{Linear, Norm};
use serde_json::{Value, json};

use super::directory::Directory;
use super::{Tensors, decoder, put};
use crate::models::{HEADS, HIDDEN, MLP, Random};
use crate::text_models::{POSITIONS, VOCAB};

fn config() -> Value {
    json!({
        "model_type": "gpt2", "n_embd": HIDDEN, "n_layer": 3, "n_head": HEADS, "n_inner": MLP,
        "vocab_size": VOCAB, "n_positions": POSITIONS, "activation_function": "gelu_new",
    })
}

#[test]
fn gpt2_directories_are_read_to_the_last_bit() {
    let mut model = Random::new(44).gpt2();
    let norms = model
        .blocks
        .iter_mut()
        .flat_map(|b| [&mut b.norm1, &mut b.norm2]);
    norms.for_each(|norm| norm.epsilon = 1e-5);
    model.norm.epsilon = 1e-5;
    for prefix in ["", "transformer."] {
        let mut tensors = Tensors::new();
        let mut all = |name: &str, dims: &[usize], values: &[f32]| {
            put(&mut tensors, &format!("{prefix}{name}"), dims, values);
        };
        all("wte.weight", &[VOCAB, HIDDEN], &model.embedding);
        all("wpe.weight", &[POSITIONS, HIDDEN], &model.positions);
        let mut norm = |name: &str, norm: &Norm| {
            all(&format!("{name}.weight"), &[HIDDEN], &norm.weight);
            all(&format!("{name}.bias"), &[HIDDEN], &norm.bias);
        };
        norm("ln_f", &model.norm);
        for (number, block) in model.blocks.iter().enumerate() {
            norm(&format!("h.{number}.ln_1"), &block.norm1);
            norm(&format!("h.{number}.ln_2"), &block.norm2);
        }
        for (number, block) in model.blocks.iter().enumerate() {
            let mut linear = |part: &str, linear: &Linear| {
                let name = format!("h.{number}.{part}");
                let dims = [linear.inputs, linear.outputs];
                all(&format!("{name}.weight"), &dims, &linear.weight);
                all(&format!("{name}.bias"), &dims[1..], &linear.bias);
            };
            linear(
                "attn.c_attn",
                &joint([&block.query, &block.key, &block.value]),
            );
            linear("attn.c_proj", &block.output);
            linear("mlp.c_fc", &block.up);
            linear("mlp.c_proj", &block.down);
        }
        let config = config();
        check_head(&config, &tensors, &Decoder::from(model.clone()));
        let mut directory = Directory::new(config, tensors);
        let found = directory.read();
        assert_eq!(decoder(&found), &Decoder::from(model.clone()));
        assert!(found.input.learned_positions && !found.input.rotary);
        let refusal = directory.refusal_of("activation_function", json!("relu"));
        assert!(
            refusal.contains("\"relu\", expected \"gelu_new\""),
            "{refusal}"
        );
        if prefix.is_empty() {
            let refusal = directory.refusal_of("n_head", json!(5));
            assert!(
                refusal.contains("a divisor of the 24 channels"),
                "{refusal}"
            );
            directory.check_every_tensor(&[]);
        }
    }
}

/// A head of its own is used if it differs from the embedding, as by `tie_weights` of transformers 5.
fn check_head(config: &Value, tensors: &Tensors, expected: &Decoder) {
    let mut tensors = tensors.clone();
    put(
        &mut tensors,
        "lm_head.weight",
        &[VOCAB, HIDDEN],
        &expected.embedding,
    );
    let same = Directory::new(config.clone(), tensors.clone()).read();
    assert_eq!(decoder(&same), expected);
    let head = Random::new(49).around(0.0, 1.0, VOCAB * HIDDEN);
    put(&mut tensors, "lm_head.weight", &[VOCAB, HIDDEN], &head);
    let other = Directory::new(config.clone(), tensors.clone()).read();
    let linear = Linear::from_transposed(HIDDEN, VOCAB, &head, vec![0.0; VOCAB]);
    assert_eq!(decoder(&other).head.as_ref(), Some(&linear));
    tensors.remove("lm_head.weight");
    let without = Directory::new(config.clone(), tensors);
    let refusal = without.refusal_of("tie_word_embeddings", json!(false));
    assert!(
        refusal.contains("lm_head.weight: found nothing"),
        "{refusal}"
    );
}

/// One map to the outputs of all three.
fn joint(parts: [&Linear; 3]) -> Linear {
    let rows = (0..HIDDEN)
        .flat_map(|row| parts.map(|part| part.weight[row * HIDDEN..(row + 1) * HIDDEN].to_vec()));
    Linear {
        inputs: HIDDEN,
        outputs: 3 * HIDDEN,
        weight: rows.collect::<Vec<_>>().concat(),
        bias: parts.map(|part| part.bias.clone()).concat(),
        blocks: None,
    }
}
