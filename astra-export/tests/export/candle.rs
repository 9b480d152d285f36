//! Real models against candle.

use std::collections::HashMap;
use std::path::Path;

use astra_bundle::TextInput;
use astra_export::family::decoder::{Decoder, DecoderNorm, Mlp};
use astra_export::family::weights::Linear;
use astra_export::narrow::Storage;
use astra_export::package::{Draft, Request};
use astra_export::source::{Content, Imported, TextModel, gguf, hugging_face};
use astra_model::tasks::text::tokenizer::Tokenizer;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{bert, llama};

use crate::cache;
use crate::runtime::{Array, Graph, max_difference};

/// Tokens of the text that logits are compared over.
const TOKENS: usize = 256;
/// Words enough for that.
const TEXT: &str = include_str!("../../src/calibrate/sentences.txt");

fn decoder(imported: &Imported) -> &Decoder {
    match &imported.content {
        Content::Text(text) => match &text.model {
            TextModel::Decoder(decoder) => decoder,
            TextModel::Bert(_) => panic!("a BERT"),
        },
        Content::Image(_) => panic!("a model that sees"),
    }
}

fn input(imported: &Imported) -> &TextInput {
    match &imported.content {
        Content::Text(text) => &text.input,
        Content::Image(_) => panic!("a model that sees"),
    }
}

fn draft(imported: &Imported, folder: &Path, max_tokens: usize) -> Draft {
    let request = Request {
        name: "model",
        size: 0,
        max_tokens: Some(max_tokens),
        seed: 0,
    };
    Draft::write(&folder.join("bundle"), imported, &request).unwrap()
}

/// `[outputs, inputs]`, as candle takes it.
fn matrix(linear: &Linear) -> Tensor {
    let dims = (linear.inputs, linear.outputs);
    let weight = Tensor::from_slice(&linear.weight, dims, &Device::Cpu).unwrap();
    weight.t().unwrap().contiguous().unwrap()
}

fn row(values: &[f32]) -> Tensor {
    Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap()
}

/// The same weights under the names that candle looks for.
fn as_candle_llama(model: &Decoder) -> (llama::Llama, llama::Cache) {
    let norm = |norm: &DecoderNorm| match norm {
        DecoderNorm::Rms(norm) => row(&norm.weight),
        DecoderNorm::Layer(_) => panic!("layer normalization"),
    };
    let dims = (model.vocab, model.hidden);
    let embedding = Tensor::from_slice(&model.embedding, dims, &Device::Cpu).unwrap();
    let mut tensors = HashMap::from([
        ("model.embed_tokens.weight".to_owned(), embedding),
        ("model.norm.weight".to_owned(), norm(&model.norm)),
    ]);
    for (number, block) in model.blocks.iter().enumerate() {
        let Mlp::Gated { gate, up, down } = &block.mlp else {
            panic!("a plain MLP");
        };
        for (name, tensor) in [
            ("input_layernorm", norm(&block.norm1)),
            ("post_attention_layernorm", norm(&block.norm2)),
            ("self_attn.q_proj", matrix(&block.query)),
            ("self_attn.k_proj", matrix(&block.key)),
            ("self_attn.v_proj", matrix(&block.value)),
            ("self_attn.o_proj", matrix(&block.output)),
            ("mlp.gate_proj", matrix(gate)),
            ("mlp.up_proj", matrix(up)),
            ("mlp.down_proj", matrix(down)),
        ] {
            tensors.insert(format!("model.layers.{number}.{name}.weight"), tensor);
        }
    }
    let config = llama::Config {
        hidden_size: model.hidden,
        intermediate_size: 1536,
        vocab_size: model.vocab,
        num_hidden_layers: model.blocks.len(),
        num_attention_heads: model.heads,
        num_key_value_heads: model.kv_heads,
        use_flash_attn: false,
        rms_norm_eps: 1e-5,
        rope_theta: 100_000.0,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: 8192,
        tie_word_embeddings: true,
    };
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
    (llama::Llama::load(builder, &config).unwrap(), cache)
}

#[test]
fn smollm2_scores_tokens_as_candle_does() {
    let mut imported = gguf::open(&cache::language_model()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let narrow = draft(&imported, &folder.path().join("source"), 2 * TOKENS);
    imported.content.store_as(Storage::Float32);
    let model = decoder(&imported);
    let draft = draft(&imported, folder.path(), 2 * TOKENS);
    let tokenizer = Tokenizer::open(draft.dir(), input(&imported)).unwrap();
    let mut ids = tokenizer.encode_as_is(TEXT).unwrap();
    ids.truncate(TOKENS);
    assert_eq!(ids.len(), TOKENS);

    let found = logits(&draft, model, &ids);
    let narrow = logits(&narrow, model, &ids);
    let (mut same, mut increase) = (0, 0.0);
    let (candle, mut cache) = as_candle_llama(model);
    let both = found.chunks(model.vocab).zip(narrow.chunks(model.vocab));
    for (position, (&id, (found, narrow))) in ids.iter().zip(both).enumerate() {
        let token = Tensor::new(&[[id]], &Device::Cpu).unwrap();
        let expected = candle.forward(&token, position, &mut cache).unwrap();
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        let difference = max_difference(found, &expected);
        assert!(
            difference <= 2e-3,
            "position {position} is off by {difference}"
        );
        same += usize::from(largest(narrow) == largest(&expected));
        if let Some(&next) = ids.get(position + 1) {
            increase += f64::from(surprise(narrow, next) - surprise(&expected, next));
        }
    }
    // The same weights; only the rows that they multiply are rounded to 8 bits.
    let (same, increase) = (same as f64 / TOKENS as f64, increase / (TOKENS - 1) as f64);
    assert!(same >= 0.93, "{same} of the next tokens are the same");
    assert!(increase.abs() <= 0.03, "cross entropy is {increase} higher");
}

/// Number of the largest score.
fn largest(scores: &[f32]) -> usize {
    let places = scores.iter().enumerate();
    places.max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap().0
}

/// Negative logarithm of the probability of a token.
fn surprise(scores: &[f32], token: u32) -> f32 {
    let most = scores[largest(scores)];
    let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    sum.ln() + most - scores[token as usize]
}

/// Of all tokens, from the fused graph and the head.
fn logits(draft: &Draft, model: &Decoder, ids: &[u32]) -> Vec<f32> {
    let total = i32::try_from(ids.len()).unwrap();
    let dims = vec![1, model.kv_heads, ids.len(), model.head_dim];
    let cache = Array::F32(dims.clone(), vec![0.0; dims.iter().product()]);
    let names: Vec<String> = (0..model.blocks.len())
        .flat_map(|block| ["k", "v"].map(|of| format!("past_{of}_{block:02}")))
        .collect();
    let mut inputs = vec![
        (
            "ids",
            Array::I64(vec![ids.len()], ids.iter().map(|&id| id.into()).collect()),
        ),
        ("seqlens_k", Array::I32(vec![1], vec![total - 1])),
        ("total_length", Array::I32(vec![1], vec![total])),
    ];
    inputs.extend(names.iter().map(|name| (name.as_str(), cache.clone())));
    let mut decode = Graph::open(&draft.dir().join("decode.onnx"));
    let [features, last] = decode.run(inputs, ["features", "logits"]);
    let mut head = Graph::open(&draft.dir().join("head.onnx"));
    let [logits] = head.run(vec![("features", features)], ["logits"]);
    let logits = logits.into_matrix().1;
    let of_last = &logits[logits.len() - model.vocab..];
    assert!(max_difference(of_last, &last.into_matrix().1) < 1e-3);
    logits
}

#[test]
fn minilm_embeds_as_candle_does() {
    let dir = cache::sentence_model();
    let imported = hugging_face::open(&dir).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let draft = draft(&imported, folder.path(), 256);
    let tokenizer = Tokenizer::open(draft.dir(), input(&imported)).unwrap();
    let mut whole = Graph::open(&draft.dir().join("whole.onnx"));

    let config = std::fs::read(dir.join("config.json")).unwrap();
    let config: bert::Config = serde_json::from_slice(&config).unwrap();
    let weights = std::fs::read(dir.join("model.safetensors")).unwrap();
    let builder = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu);
    let candle = bert::BertModel::load(builder.unwrap(), &config).unwrap();

    let lines: Vec<&str> = TEXT.lines().collect();
    for text in [lines[0], lines[7], &lines[..10].join(" ")] {
        let ids = tokenizer.encode(text).unwrap();
        let tokens = Array::I64(vec![ids.len()], ids.iter().map(|&id| id.into()).collect());
        let [features] = whole.run(vec![("ids", tokens)], ["features"]);
        let found = normalized_mean(&features.into_matrix().1, config.hidden_size);

        let ids = Tensor::new(ids.as_slice(), &Device::Cpu)
            .unwrap()
            .unsqueeze(0)
            .unwrap();
        let kinds = ids.zeros_like().unwrap();
        let features = candle.forward(&ids, &kinds, None).unwrap();
        let features: Vec<f32> = features.flatten_all().unwrap().to_vec1().unwrap();
        let expected = normalized_mean(&features, config.hidden_size);
        let difference = max_difference(&found, &expected);
        assert!(difference <= 1e-4, "{text:.20}... is off by {difference}");
    }
}

fn normalized_mean(features: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; width];
    for row in features.chunks(width) {
        sum.iter_mut()
            .zip(row)
            .for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
    sum.iter().map(|x| (x / length) as f32).collect()
}
