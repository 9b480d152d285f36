//! Directories of Llama and Qwen2.

use astra_export::family::decoder::Decoder;
use astra_export::family::llama::LlamaModel;
use serde_json::{Value, json};

use super::directory::Directory;
use super::{Tensors, decoder, put, put_linear};
use crate::models::{HIDDEN, MLP, Random};
use crate::text_models::{HEAD_DIM, KV_HEADS, POSITIONS, QUERY_HEADS, VOCAB};

pub(super) fn llama_config(model_type: &str) -> Value {
    json!({
        "model_type": model_type, "hidden_size": HIDDEN, "num_hidden_layers": 3,
        "num_attention_heads": QUERY_HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "intermediate_size": MLP, "vocab_size": VOCAB, "max_position_embeddings": POSITIONS,
        "rms_norm_eps": 1e-5, "rope_theta": 100.0, "hidden_act": "silu", "eos_token_id": [4, 2],
    })
}

pub(super) fn llama_tensors(model: &LlamaModel) -> Tensors {
    let mut tensors = Tensors::new();
    let all = &mut tensors;
    put(
        all,
        "model.embed_tokens.weight",
        &[VOCAB, HIDDEN],
        &model.embedding,
    );
    put(all, "model.norm.weight", &[HIDDEN], &model.norm.weight);
    if let Some(head) = &model.head {
        put_linear(all, "lm_head", head);
    }
    for (number, block) in model.blocks.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{number}.{part}");
        for (part, norm) in [
            ("input_layernorm.weight", &block.norm1),
            ("post_attention_layernorm.weight", &block.norm2),
        ] {
            put(all, &name(part), &[HIDDEN], &norm.weight);
        }
        for (part, linear) in [
            ("self_attn.q_proj", &block.query),
            ("self_attn.k_proj", &block.key),
            ("self_attn.v_proj", &block.value),
            ("self_attn.o_proj", &block.output),
            ("mlp.gate_proj", &block.gate),
            ("mlp.up_proj", &block.up),
            ("mlp.down_proj", &block.down),
        ] {
            put_linear(all, &name(part), linear);
        }
    }
    tensors
}

#[test]
fn llama_directories_are_read_to_the_last_bit() {
    for (model_type, biases, tied) in [("llama", false, true), ("qwen2", true, false)] {
        let model = Random::new(41).llama(biases, tied);
        let mut config = llama_config(model_type);
        config["tie_word_embeddings"] = json!(tied);
        let directory = Directory::new(config, llama_tensors(&model));
        directory.write(
            "tokenizer_config.json",
            &json!({ "bos_token": { "content": "<s>" }, "eos_token": "</s>", "add_bos_token": true,
                     "chat_template": [{ "name": "default", "template": "{{ messages }}" }] }),
        );
        let found = directory.read();
        assert_eq!(decoder(&found), &Decoder::from(model));
        let input = &found.input;
        assert_eq!((input.vocab, input.max_tokens), (VOCAB, POSITIONS));
        assert_eq!((input.bos, input.eos.as_slice()), (Some(1), &[2, 4][..]));
        assert_eq!(input.chat_template.as_deref(), Some("{{ messages }}"));
        assert!(input.add_bos && input.rotary && !input.learned_positions);
    }
}

#[test]
fn other_llamas_are_refused_by_field_or_tensor() {
    let model = Random::new(42).llama(true, false);
    let mut config = llama_config("llama");
    config["attention_bias"] = json!(true);
    let mut directory = Directory::new(config, llama_tensors(&model));
    let scaled = json!({ "rope_type": "yarn", "factor": 4.0 });
    for (field, value, said) in [
        ("model_type", json!("mamba"), "\"mamba\", expected one of"),
        ("hidden_act", json!("gelu"), "\"gelu\", expected \"silu\""),
        ("rope_scaling", scaled.clone(), "\"yarn\""),
        ("rope_parameters", scaled, "\"yarn\""),
        (
            "attention_bias",
            json!(false),
            "q_proj.bias: found a tensor",
        ),
        (
            "attention_multiplier",
            json!(0.5),
            "attention_multiplier: found 0.5",
        ),
        ("num_key_value_heads", json!(4), "a divisor of the 6 heads"),
        ("head_dim", json!(12), "a multiple of 8"),
        ("rope_theta", json!(-1.0), "above 0"),
        (
            "num_hidden_layers",
            json!(2),
            "model.layers.2.input_layernorm",
        ),
        ("num_hidden_layers", json!(4), "model.layers.3."),
        ("vocab_size", json!(0), "vocabulary size"),
        ("eos_token_id", json!(99), "99, expected below 37"),
    ] {
        let refusal = directory.refusal_of(field, value);
        assert!(refusal.contains(said), "{field}: {refusal}");
    }
    directory.check_every_tensor(&[".bias"]);
}

/// `tie_weights` of transformers 5: a head that differs is used even where it should be the embedding, and the head alone is the
/// embedding too.
#[test]
fn the_head_is_the_embedding_where_the_configuration_says_so() {
    let model = Random::new(47).llama(false, false);
    let tied = |value: Value| {
        let mut config = llama_config("llama");
        config["tie_word_embeddings"] = value;
        config
    };
    let whole = llama_tensors(&model);
    let found = Directory::new(tied(json!(true)), whole.clone()).read();
    assert_eq!(decoder(&found), &Decoder::from(model.clone()));

    let mut headless = whole.clone();
    headless.remove("lm_head.weight");
    let found = Directory::new(tied(json!(true)), headless.clone()).read();
    assert_eq!(decoder(&found).head, None);
    for value in [json!(false), json!(null)] {
        let refusal = Directory::new(tied(value), headless.clone()).refusal();
        let said =
            "lm_head.weight: found nothing, expected a tensor of that name, as tie_word_embeddings";
        assert!(refusal.contains(said), "{refusal}");
    }

    // As `LlamaModel` saves it.
    let bare = headless.into_iter();
    let bare = bare.map(|(name, tensor)| (name.replace("model.", ""), tensor));
    let found = Directory::new(tied(json!(true)), bare.collect()).read();
    assert_eq!(decoder(&found).embedding, model.embedding);

    let mut head_alone = whole;
    head_alone.remove("model.embed_tokens.weight");
    let (_, head) = &head_alone["lm_head.weight"];
    let head = head.clone();
    let found = Directory::new(tied(json!(true)), head_alone).read();
    assert_eq!(decoder(&found).embedding, head);
}

/// Within the window full attention is the same.
#[test]
fn texts_are_as_long_as_the_window_of_attention() {
    let model = Random::new(48).llama(false, false);
    for (model_type, window, longest) in [
        ("mistral", json!({ "sliding_window": 8 }), 8),
        ("mistral", json!({ "sliding_window": null }), POSITIONS),
        ("mistral", json!({ "sliding_window": POSITIONS }), POSITIONS),
        (
            "qwen2",
            json!({ "sliding_window": 8, "use_sliding_window": true, "max_window_layers": 2 }),
            8,
        ),
        (
            "qwen2",
            json!({ "sliding_window": null, "use_sliding_window": false, "max_window_layers": 0,
                    "layer_types": ["full_attention", "full_attention", "full_attention"] }),
            POSITIONS,
        ),
    ] {
        let mut config = llama_config(model_type);
        for (name, value) in window.as_object().unwrap() {
            config[name] = value.clone();
        }
        let imported = Directory::new(config, llama_tensors(&model)).import();
        let warnings = imported.warnings.concat();
        assert_eq!(
            super::text(imported.content).input.max_tokens,
            longest,
            "{window}"
        );
        let limited = warnings.contains("texts are limited to 8 tokens");
        assert_eq!(limited, longest == 8, "{window}: {warnings}");
    }
}

#[test]
fn llama_3_stretches_slow_turns_only() {
    let model = Random::new(43).llama(false, true);
    let mut config = llama_config("llama");
    config["tie_word_embeddings"] = json!(true);
    config["rope_scaling"] = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 12,
    });
    let found = Directory::new(config, llama_tensors(&model)).read();
    // Turns in 12 positions: 1.9, 0.60, 0.19 and 0.06; kept shares (turns - 1) / 3 between 0 and 1.
    let turns = 12.0 / std::f64::consts::TAU;
    let kept = (turns - 1.0) / 3.0;
    let expected = [kept + (1.0 - kept) / 8.0, 0.125, 0.125, 0.125];
    let found = decoder(&found).positions.frequencies();
    for ((found, plain), factor) in found.iter().zip(&model.frequencies).zip(expected) {
        assert!((found / plain - factor).abs() < 1e-12, "{found} of {plain}");
    }
}

/// Weights of a part that is not computed would be lost; buffers and the heads of other tasks are not.
#[test]
fn a_tensor_of_a_block_that_nothing_reads_is_refused() {
    let model = Random::new(47).llama(false, true);
    for (name, lost) in [
        ("model.layers.1.self_attn.q_norm.weight", true),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", false),
        ("score.weight", false),
    ] {
        let mut tensors = llama_tensors(&model);
        put(&mut tensors, name, &[8], &[1.0; 8]);
        let mut config = llama_config("llama");
        config["tie_word_embeddings"] = json!(true);
        let directory = Directory::new(config, tensors);
        if lost {
            let refusal = directory.refusal();
            assert!(
                refusal.contains(&format!("{name}: found a tensor that no known part")),
                "{refusal}"
            );
        } else {
            assert_eq!(decoder(&directory.read()), &Decoder::from(model.clone()));
        }
    }
}
