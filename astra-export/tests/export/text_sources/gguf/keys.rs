//! Keys of an architecture: read, harmless, or refused.

use astra_export::family::decoder::Positions;
use astra_export::source::{Imported, gguf};
use serde_json::{Value, json};

use super::super::{decoder, text};
use super::{gguf_of, gguf_refusal, write};
use crate::models::{HIDDEN, Random};
use crate::text_models::{HEAD_DIM, POSITIONS};

fn imported(changes: &[(&str, Value)]) -> Imported {
    let mut file = gguf_of("llama", &Random::new(54).llama(false, true));
    for (key, value) in changes {
        file.set(key, value.clone());
    }
    let (_folder, path) = write(&file);
    gguf::open(&path).unwrap()
}

fn frequencies(changes: &[(&str, Value)]) -> Vec<f64> {
    let text = text(imported(changes).content);
    match &decoder(&text).positions {
        Positions::Rotary(frequencies) => frequencies.clone(),
        Positions::Learned(_) => panic!("learned positions"),
    }
}

/// `load_hparams` in llama.cpp: positions are divided by `rope.scaling.factor`, else by `rope.scale_linear`; 0 is no factor.
#[test]
fn linear_scaling_divides_frequencies() {
    let plain = frequencies(&[]);
    assert_eq!(plain.len(), HEAD_DIM / 2);
    let divided = |by: f64| plain.iter().map(|f| f / by).collect::<Vec<_>>();
    let factor = ("llama.rope.scaling.factor", json!(4.0));
    let old = ("llama.rope.scale_linear", json!(2.0));
    let kind = |kind: &str| ("llama.rope.scaling.type", json!(kind));
    assert_eq!(frequencies(std::slice::from_ref(&factor)), divided(4.0));
    assert_eq!(frequencies(std::slice::from_ref(&old)), divided(2.0));
    assert_eq!(frequencies(&[old.clone(), factor.clone()]), divided(4.0));
    assert_eq!(frequencies(&[kind("linear"), factor.clone()]), divided(4.0));
    assert_eq!(frequencies(&[kind("none"), factor]), plain);
    assert_eq!(
        frequencies(&[("llama.rope.scale_linear", json!(0.0))]),
        plain
    );
    assert_eq!(
        frequencies(&[kind("linear"), ("llama.rope.scaling.factor", json!(1.0))]),
        plain
    );
}

#[test]
fn texts_are_limited_to_a_window_and_it_is_said() {
    let window = |tokens: usize| {
        let imported = imported(&[("llama.attention.sliding_window", json!(tokens))]);
        (
            imported.warnings.join("\n"),
            text(imported.content).input.max_tokens,
        )
    };
    let (warning, tokens) = window(16);
    assert_eq!(tokens, 16);
    assert!(
        warning.contains(
            "llama.attention.sliding_window: texts are limited to the window of 16 tokens"
        ),
        "{warning}"
    );
    assert_eq!(window(0), (String::new(), POSITIONS));
    assert_eq!(window(POSITIONS), (String::new(), POSITIONS));
}

#[test]
fn harmless_values_are_taken() {
    let changes = [
        ("llama.attention.causal", json!(true)),
        ("llama.attention.head_count_kv", json!([2, 2, 2])),
        ("llama.attention.key_length", json!(HEAD_DIM)),
        ("llama.attention.layer_norm_epsilon", json!(1e-12)),
        ("llama.attention.value_length", json!(HEAD_DIM)),
        ("llama.expert_count", json!(0)),
        ("llama.logit_scale", json!(1.0)),
        ("llama.rope.freq_base", json!(100)),
        ("llama.tensor_data_layout", json!("Meta AI original pth")),
        ("llama.vocab_size", json!(37)),
        ("general.some_new_key", json!("any")),
    ];
    assert_eq!(imported(&changes).content, imported(&[]).content);
}

#[test]
fn what_would_be_computed_otherwise_is_refused_by_key() {
    for (key, value, said) in [
        (
            "llama.rope.scaling.type",
            json!("longrope"),
            "found \"longrope\", expected \"none\" or \"linear\"",
        ),
        (
            "llama.attention.causal",
            json!(false),
            "found false, expected 1",
        ),
        ("llama.residual_scale", json!(0.5), "found 0.5, expected 1"),
        (
            "llama.attention.value_length",
            json!(HEAD_DIM * 2),
            "all channels of a head",
        ),
        (
            "llama.attention.head_count_kv",
            json!([2, 1, 2]),
            "found [2, 1, 2] (3 items), expected a whole number, the same in all layers",
        ),
        (
            "llama.some_new_key",
            json!(3),
            "found 3, expected no such key",
        ),
        (
            "general.type",
            json!("adapter"),
            "found \"adapter\", expected \"model\"",
        ),
        (
            "tokenizer.ggml.add_eos_token",
            json!(true),
            "found true, expected false",
        ),
        (
            "tokenizer.ggml.suppress_tokens",
            json!([1, 2]),
            "found 2 tokens, expected none",
        ),
    ] {
        let mut file = gguf_of("llama", &Random::new(54).llama(false, true));
        file.set(key, value);
        let refusal = gguf_refusal(&file);
        assert!(
            refusal.contains(&format!("small.gguf: {key}: ")),
            "{refusal}"
        );
        assert!(refusal.contains(said), "{refusal}");
    }
}

#[test]
fn a_tensor_without_a_part_is_refused() {
    let mut file = gguf_of("llama", &Random::new(54).llama(false, true));
    file.floats("blk.0.attn_q_norm.weight", &[HEAD_DIM], &[1.0; HEAD_DIM]);
    let refusal = gguf_refusal(&file);
    assert!(
        refusal.contains("blk.0.attn_q_norm.weight: found a tensor of dimensions"),
        "{refusal}"
    );
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    for value in [f32::NAN, f32::INFINITY] {
        let mut file = gguf_of("llama", &Random::new(54).llama(false, true));
        let mut values = [1.0; HIDDEN];
        values[3] = value;
        file.floats("output_norm.weight", &[HIDDEN], &values);
        let refusal = gguf_refusal(&file);
        let said = format!("output_norm.weight: found {value}, expected finite values");
        assert!(refusal.contains(&said), "{refusal}");
    }
}

#[test]
fn what_is_found_in_a_models_place_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    for (content, said) in [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "git lfs pull",
        ),
        ("<!DOCTYPE html><html>", "a web page"),
        ("GGUF", "it is cut short"),
    ] {
        std::fs::write(&path, content).unwrap();
        let refusal = gguf::open(&path).unwrap_err().to_string();
        assert!(refusal.contains(said), "{refusal}");
    }
}
