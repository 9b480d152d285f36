//! GGUF files of Llama and Qwen2.

mod keys;
mod parts;
mod tokens;

use std::path::PathBuf;

use astra_export::family::decoder::Decoder;
use astra_export::family::llama::LlamaModel;
use astra_export::family::weights::Linear;
use astra_export::source::gguf;
use serde_json::{Value, json};

use super::{Tensors, decoder, put, put_linear, text};
use crate::gguf_file::GgufFile;
use crate::models::{HIDDEN, Random};
use crate::text_models::{HEAD_DIM, VOCAB};

/// The channels of every head in the order that neighbours are turned in.
fn as_neighbours(linear: &Linear) -> Linear {
    let shuffle = |row: &[f32]| -> Vec<f32> {
        let heads = row.chunks(HEAD_DIM).map(|head| {
            let (low, high) = head.split_at(HEAD_DIM / 2);
            low.iter()
                .zip(high)
                .flat_map(|(a, b)| [*a, *b])
                .collect::<Vec<_>>()
        });
        heads.collect::<Vec<_>>().concat()
    };
    Linear {
        weight: linear
            .weight
            .chunks(linear.outputs)
            .flat_map(shuffle)
            .collect(),
        bias: shuffle(&linear.bias),
        ..linear.clone()
    }
}

fn gguf_of(architecture: &str, model: &LlamaModel) -> GgufFile {
    let mut tensors = Tensors::new();
    let all = &mut tensors;
    put(all, "token_embd.weight", &[VOCAB, HIDDEN], &model.embedding);
    put(all, "output_norm.weight", &[HIDDEN], &model.norm.weight);
    if let Some(head) = &model.head {
        put_linear(all, "output", head);
    }
    let turned = |linear: &Linear| match architecture {
        "llama" => as_neighbours(linear),
        _ => linear.clone(),
    };
    for (number, block) in model.blocks.iter().enumerate() {
        let name = |part: &str| format!("blk.{number}.{part}");
        put(
            all,
            &name("attn_norm.weight"),
            &[HIDDEN],
            &block.norm1.weight,
        );
        put(
            all,
            &name("ffn_norm.weight"),
            &[HIDDEN],
            &block.norm2.weight,
        );
        for (part, linear) in [
            ("attn_q", &turned(&block.query)),
            ("attn_k", &turned(&block.key)),
            ("attn_v", &block.value),
            ("attn_output", &block.output),
            ("ffn_gate", &block.gate),
            ("ffn_up", &block.up),
            ("ffn_down", &block.down),
        ] {
            put_linear(all, &name(part), linear);
        }
    }
    let mut file = GgufFile::llama(architecture);
    for (name, (dims, values)) in &tensors {
        file.floats(name, dims, values);
    }
    file
}

fn write(file: &GgufFile) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    std::fs::write(&path, file.bytes()).unwrap();
    (folder, path)
}

fn gguf_refusal(file: &GgufFile) -> String {
    let (_folder, path) = write(file);
    gguf::open(&path).unwrap_err().to_string()
}

#[test]
fn gguf_files_are_read_to_the_last_bit_and_rows_put_back_in_order() {
    for (architecture, biases, tied) in [("llama", false, true), ("qwen2", true, false)] {
        let mut model = Random::new(51).llama(biases, tied);
        // Kept in single precision by the file.
        for norm in model
            .blocks
            .iter_mut()
            .flat_map(|b| [&mut b.norm1, &mut b.norm2])
        {
            norm.epsilon = 1e-5;
        }
        let (_folder, path) = write(&gguf_of(architecture, &model));
        let imported = gguf::open(&path).unwrap();
        assert_eq!(imported.file, "small.gguf");
        let found = text(imported.content);
        assert_eq!(decoder(&found), &Decoder::from(model));
        let input = &found.input;
        assert_eq!((input.bos, input.eos.as_slice()), (Some(1), &[2][..]));
        assert_eq!(input.bos_token.as_deref(), Some("<s>"));
        assert_eq!(input.chat_template.as_deref(), Some("{{ messages }}"));
        let tokenizer: Value = serde_json::from_slice(&found.tokenizer).unwrap();
        assert_eq!(tokenizer["model"]["vocab"]["</s>"], 2);
        assert_eq!(tokenizer["model"]["merges"][0], json!(["t3", "t4"]));
        assert_eq!(tokenizer["added_tokens"][1]["content"], "<s>");
    }
}

#[test]
fn other_gguf_files_are_refused_by_key_or_tensor() {
    let model = Random::new(52).llama(false, true);
    let whole = gguf_of("llama", &model);
    for (change, said) in [
        (
            ("general.architecture", json!("mamba")),
            "\"mamba\", expected \"llama\" or \"qwen2\"",
        ),
        (("tokenizer.ggml.model", json!("t5")), "byte-level BPE"),
        (
            ("tokenizer.ggml.pre", json!("unheard-of")),
            "\"unheard-of\", expected one of",
        ),
        (
            ("llama.rope.scaling.type", json!("yarn")),
            "found \"yarn\", expected \"none\" or \"linear\"",
        ),
        (
            ("llama.expert_count", json!(8)),
            "llama.expert_count: found 8, expected 0",
        ),
        (("llama.block_count", json!(4)), "blk.3."),
        (("llama.block_count", json!(2)), "blk.2.attn_norm"),
        (
            ("llama.attention.head_count_kv", json!(4)),
            "a divisor of the 6 heads",
        ),
        (
            ("tokenizer.ggml.eos_token_id", json!(37)),
            "37, expected below 37",
        ),
    ] {
        let mut file = whole.clone();
        file.set(change.0, change.1);
        let refusal = gguf_refusal(&file);
        assert!(refusal.contains(said), "{}: {refusal}", change.0);
    }
    let mut file = whole.clone();
    file.tensors.remove("blk.1.ffn_up.weight");
    assert!(gguf_refusal(&file).contains("blk.1.ffn_up.weight: found nothing"));
    let mut file = whole.clone();
    file.floats("output_norm.weight", &[2, 12], &[0.0; 24]);
    let refusal = gguf_refusal(&file);
    assert!(refusal.contains("output_norm.weight: found dimensions [2, 12], expected [24]"));
    let mut file = whole.clone();
    file.raw("output_norm.weight", &[24], 16, vec![0; 24]);
    assert!(gguf_refusal(&file).contains("values of type IQ2_XXS, expected one of F32, F16, Q4_0"));
    let mut file = whole;
    file.raw("output_norm.weight", &[24], 3, vec![0; 24]);
    assert!(gguf_refusal(&file).contains("rows of a multiple of 32 values"));
}

#[test]
fn a_torn_gguf_file_is_refused() {
    let bytes = gguf_of("llama", &Random::new(53).llama(false, true)).bytes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("torn.gguf");
    for length in [0, 3, 4, 12, 30, 100, 700, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let refusal = gguf::open(&path).unwrap_err().to_string();
        assert!(refusal.contains("torn.gguf"), "{length}: {refusal}");
    }
    // A count that promises more than there is.
    let mut promised = bytes;
    promised[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, promised).unwrap();
    assert!(
        gguf::open(&path)
            .unwrap_err()
            .to_string()
            .contains("not a GGUF file")
    );
}
