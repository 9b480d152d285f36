//! Directories and GGUF files of models that read, written here, read back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use astra_bundle::{Task, TextPooling};
use astra_export::family::decoder::Decoder;
use astra_export::family::weights::{Linear, Norm};
use astra_export::source::{Content, ImportedText, TextModel, gguf, hugging_face};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::gguf_file::GgufFile;
use crate::models::{HEADS, HIDDEN, MLP, Random};
use crate::text_models::{HEAD_DIM, KV_HEADS, POSITIONS, QUERY_HEADS, VOCAB};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A directory with what a test wants in it.
struct Directory {
    folder: tempfile::TempDir,
    config: Value,
    tensors: Tensors,
}

impl Directory {
    fn new(config: Value, tensors: Tensors) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Self {
            folder,
            config,
            tensors,
        };
        directory.write("config.json", &directory.config);
        directory.write("tokenizer.json", &tokenizer());
        directory.save();
        directory
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, value: &Value) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    }

    fn save(&self) {
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let all: BTreeMap<_, (Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (dims, values))| (name, (dims.clone(), bytes(values))))
            .collect();
        let views = all.iter().map(|(name, (dims, bytes))| {
            let view = TensorView::new(Dtype::F32, dims.clone(), bytes).unwrap();
            (name.as_str(), view)
        });
        let file = safetensors::serialize(views, None).unwrap();
        std::fs::write(self.path().join("model.safetensors"), file).unwrap();
    }

    fn read(&self) -> ImportedText {
        text(hugging_face::open(self.path()).unwrap().content)
    }

    fn refusal(&self) -> String {
        hugging_face::open(self.path()).unwrap_err().to_string()
    }

    /// What is said after a change to the configuration, which is taken back.
    fn refusal_of(&self, field: &str, value: Value) -> String {
        let mut config = self.config.clone();
        config[field] = value;
        self.write("config.json", &config);
        let refusal = self.refusal();
        self.write("config.json", &self.config);
        refusal
    }

    /// Every tensor left out and, in turn, of another shape is refused by its name; `optional` ones may be missing.
    fn check_every_tensor(&mut self, optional: &[&str]) {
        let names: Vec<String> = self.tensors.keys().cloned().collect();
        for name in names {
            let (dims, values) = self.tensors.remove(&name).unwrap();
            if !optional.iter().any(|optional| name.ends_with(optional)) {
                self.save();
                let refusal = self.refusal();
                assert!(
                    refusal.contains(&name) && refusal.contains("found nothing"),
                    "without {name}: {refusal}"
                );
            }
            let flat = (vec![1, values.len()], values.clone());
            self.tensors.insert(name.clone(), flat);
            self.save();
            let refusal = self.refusal();
            let (found, expected) = (format!("[1, {}]", values.len()), format!("{dims:?}"));
            assert!(
                refusal.contains(&name) && refusal.contains(&found) && refusal.contains(&expected),
                "{name} reshaped: {refusal}"
            );
            self.tensors.insert(name, (dims, values));
        }
        self.save();
    }
}

fn text(content: Content) -> ImportedText {
    match content {
        Content::Text(text) => text,
        Content::Image(_) => panic!("a model that sees"),
    }
}

fn decoder(text: &ImportedText) -> &Decoder {
    match &text.model {
        TextModel::Decoder(decoder) => decoder,
        TextModel::Bert(_) => panic!("a BERT"),
    }
}

/// A tokenizer file with special tokens.
fn tokenizer() -> Value {
    json!({
        "added_tokens": [{ "id": 1, "content": "<s>" }, { "id": 2, "content": "</s>" }],
        "post_processor": null,
        "model": { "type": "BPE", "vocab": { "a": 3, "<end>": 4 }, "merges": [] },
    })
}

fn put(tensors: &mut Tensors, name: &str, dims: &[usize], values: &[f32]) {
    tensors.insert(name.to_owned(), (dims.to_vec(), values.to_vec()));
}

/// As PyTorch keeps it, `[outputs, inputs]`.
fn put_linear(tensors: &mut Tensors, name: &str, linear: &Linear) {
    let turned = Linear::from_transposed(linear.outputs, linear.inputs, &linear.weight, Vec::new());
    let dims = [linear.outputs, linear.inputs];
    put(tensors, &format!("{name}.weight"), &dims, &turned.weight);
    if linear.bias.iter().any(|&value| value != 0.0) {
        put(
            tensors,
            &format!("{name}.bias"),
            &[linear.outputs],
            &linear.bias,
        );
    }
}

fn put_norm(tensors: &mut Tensors, name: &str, norm: &Norm) {
    put(tensors, &format!("{name}.weight"), &[HIDDEN], &norm.weight);
    put(tensors, &format!("{name}.bias"), &[HIDDEN], &norm.bias);
}

fn llama_config(model_type: &str) -> Value {
    json!({
        "model_type": model_type, "hidden_size": HIDDEN, "num_hidden_layers": 3,
        "num_attention_heads": QUERY_HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "intermediate_size": MLP, "vocab_size": VOCAB, "max_position_embeddings": POSITIONS,
        "rms_norm_eps": 1e-5, "rope_theta": 100.0, "hidden_act": "silu", "eos_token_id": [4, 2],
    })
}

fn llama_tensors(model: &astra_export::family::llama::LlamaModel) -> Tensors {
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
        let directory = Directory::new(llama_config(model_type), llama_tensors(&model));
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
        assert_eq!(found.task, Task::Generation);
    }
}

#[test]
fn other_llamas_are_refused_by_field_or_tensor() {
    let model = Random::new(42).llama(true, false);
    let mut directory = Directory::new(llama_config("llama"), llama_tensors(&model));
    let scaled = json!({ "rope_type": "yarn", "factor": 4.0 });
    for (field, value, said) in [
        ("model_type", json!("mamba"), "\"mamba\", expected one of"),
        ("hidden_act", json!("gelu"), "\"gelu\", expected \"silu\""),
        ("rope_scaling", scaled, "\"yarn\""),
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
    directory.check_every_tensor(&[".bias", "lm_head.weight"]);
}

#[test]
fn llama_3_stretches_slow_turns_only() {
    let model = Random::new(43).llama(false, true);
    let mut config = llama_config("llama");
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
                all(
                    &format!("{name}.weight"),
                    &[linear.inputs, linear.outputs],
                    &linear.weight,
                );
                all(&format!("{name}.bias"), &[linear.outputs], &linear.bias);
            };
            linear(
                "attn.c_attn",
                &joint([&block.query, &block.key, &block.value]),
            );
            linear("attn.c_proj", &block.output);
            linear("mlp.c_fc", &block.up);
            linear("mlp.c_proj", &block.down);
        }
        let config = json!({
            "model_type": "gpt2", "n_embd": HIDDEN, "n_layer": 3, "n_head": HEADS, "n_inner": MLP,
            "vocab_size": VOCAB, "n_positions": POSITIONS, "activation_function": "gelu_new",
        });
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

/// One map to the outputs of all three.
fn joint(parts: [&Linear; 3]) -> Linear {
    let rows = (0..HIDDEN)
        .flat_map(|row| parts.map(|part| part.weight[row * HIDDEN..(row + 1) * HIDDEN].to_vec()));
    Linear {
        inputs: HIDDEN,
        outputs: 3 * HIDDEN,
        weight: rows.collect::<Vec<_>>().concat(),
        bias: parts.map(|part| part.bias.clone()).concat(),
    }
}

#[test]
fn bert_directories_are_read_to_the_last_bit_with_their_pooling() {
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
    put(
        all,
        "embeddings.word_embeddings.weight",
        &[VOCAB, HIDDEN],
        &model.embedding,
    );
    put(
        all,
        "embeddings.position_embeddings.weight",
        &[POSITIONS, HIDDEN],
        &model.positions,
    );
    put(
        all,
        "embeddings.token_type_embeddings.weight",
        &[2, HIDDEN],
        &kinds,
    );
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
    let mean = TextPooling::Mean;
    let plain = |pooling, normalize| Task::Embedding { pooling, normalize };
    assert_eq!(
        (found.task, found.input.max_tokens),
        (plain(mean, false), POSITIONS)
    );
    directory.check_every_tensor(&[".bias"]);

    directory.write(
        "sentence_bert_config.json",
        &json!({ "max_seq_length": 16 }),
    );
    directory.write(
        "modules.json",
        &json!([
            { "path": "", "type": "sentence_transformers.models.Transformer" },
            { "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
            { "path": "2_Normalize", "type": "sentence_transformers.models.Normalize" },
        ]),
    );
    for (field, pooling) in [
        ("pooling_mode_cls_token", Some(TextPooling::Cls)),
        ("pooling_mode_mean_tokens", Some(mean)),
        ("pooling_mode_max_tokens", None),
    ] {
        directory.write("1_Pooling/config.json", &json!({ field: true }));
        match pooling {
            Some(pooling) => {
                let found = directory.read();
                assert_eq!(
                    (found.task, found.input.max_tokens),
                    (plain(pooling, true), 16)
                );
            }
            None => assert!(directory.refusal().contains(field)),
        }
    }
}

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

fn gguf_of(architecture: &str, model: &astra_export::family::llama::LlamaModel) -> GgufFile {
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
        (("tokenizer.ggml.model", json!("llama")), "byte-level BPE"),
        (
            ("tokenizer.ggml.pre", json!("unheard-of")),
            "\"unheard-of\", expected one of",
        ),
        (
            ("llama.rope.scaling.type", json!("yarn")),
            "scaled positions",
        ),
        (("llama.expert_count", json!(8)), "mixtures of experts"),
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
    file.raw("output_norm.weight", &[24], 10, vec![0; 24]);
    assert!(gguf_refusal(&file).contains("values of kind 10, expected one of F32, F16, Q4_0"));
    let mut file = whole;
    file.raw("output_norm.weight", &[24], 3, vec![0; 24]);
    assert!(gguf_refusal(&file).contains("a multiple of 32 values"));
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
