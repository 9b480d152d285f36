//! Directories as the `sentence-transformers` library writes them, exported and run.
//!
//! Expected vectors are those of `SentenceTransformer(DIR).encode` of sentence-transformers 6.2.0 with transformers 5.24.0 and PyTorch
//! 2.15.0, of the same files: a formula makes the weights, so that another program can make them too.

mod refusals;
mod vectors;

use std::collections::BTreeMap;
use std::path::Path;

use astra_bundle::Task;
use astra_export::package::{Draft, Request};
use astra_export::source::hugging_face;
use astra_model::partition::TokenRange;
use astra_model::tasks::embedding::{combine, pool_part};
use astra_model::tasks::text::tokenizer::Tokenizer;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::runtime::{Array, Graph};

const HIDDEN: usize = 8;
const LAYERS: usize = 2;
const MLP: usize = 12;
const VOCAB: [&str; 16] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "a", "mat", "dog", "ran", ".",
    ",", "##s", "Cat",
];
const TEXT: &str = "the cat sat on a mat .";

/// Bytes and dimensions of a tensor.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// A directory with a small BERT.
struct Directory {
    folder: tempfile::TempDir,
}

impl Directory {
    /// The bare model, with a tokenizer that puts texts into lower case or does not.
    fn new(lower_case: bool) -> Self {
        let directory = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let config = json!({
            "architectures": ["BertModel"], "model_type": "bert", "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": MLP,
            "vocab_size": VOCAB.len(), "max_position_embeddings": 32, "type_vocab_size": 2,
            "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0,
        });
        directory.write("config.json", &config);
        directory.write("tokenizer.json", &tokenizer(lower_case));
        directory.save("model.safetensors", &model());
        directory
    }

    /// With these modules, after the first at paths like `1_Pooling`, and their configurations.
    fn with(modules: &[&str], files: &[(&str, Value)]) -> Self {
        let directory = Self::new(true);
        directory.modules("sentence_transformers.models.", modules);
        for (name, file) in files {
            directory.write(name, file);
        }
        directory
    }

    fn modules(&self, namespace: &str, names: &[&str]) {
        let entry = |(number, name): (usize, &&str)| {
            let path = match number {
                0 => String::new(),
                number => format!("{number}_{name}"),
            };
            let class = format!("{namespace}{name}");
            json!({ "idx": number, "name": number.to_string(), "path": path, "type": class })
        };
        let entries: Vec<Value> = names.iter().enumerate().map(entry).collect();
        self.write("modules.json", &json!(entries));
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, value: &Value) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    }

    fn save(&self, name: &str, tensors: &BTreeMap<String, Stored>) {
        let views = tensors.iter().map(|(name, (dtype, dims, bytes))| {
            let view = TensorView::new(*dtype, dims.clone(), bytes).unwrap();
            (name.as_str(), view)
        });
        let file = safetensors::serialize(views, None).unwrap();
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }

    /// The weights of a dense layer.
    fn dense(&self, path: &str, seed: usize, [outputs, inputs]: [usize; 2], bias: bool) {
        let mut tensors = BTreeMap::new();
        tensors.insert(
            "linear.weight".to_owned(),
            tensor(seed, &[outputs, inputs], 0.0),
        );
        if bias {
            tensors.insert("linear.bias".to_owned(), tensor(seed + 1, &[outputs], 0.0));
        }
        self.save(&format!("{path}/model.safetensors"), &tensors);
    }

    /// The vector that the exported bundle makes of a text.
    fn embed(&self, text: &str) -> Vec<f32> {
        let imported = hugging_face::open(self.path()).unwrap();
        let request = Request {
            name: "sentences",
            size: 0,
            max_tokens: None,
            seed: 0,
        };
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle");
        let bundle = Draft::write(&bundle, &imported, &request).unwrap();
        let bundle = bundle.finish().unwrap();
        let manifest = bundle.manifest();
        let Task::Embedding(embedding) = &manifest.task else {
            panic!("{:?}", manifest.task);
        };
        let tokenizer = Tokenizer::open(bundle.dir(), manifest.text.as_ref().unwrap()).unwrap();
        let ids = tokenizer
            .encode(&format!("{}{text}", embedding.prompt))
            .unwrap();
        let tokens = ids.len();
        let ids = Array::I64(vec![tokens], ids.into_iter().map(i64::from).collect());
        let mut whole = Graph::open(&bundle.graph("whole").unwrap());
        let [features] = whole.run(vec![("ids", ids)], ["features"]);
        let (_, features) = features.into_matrix();
        let all = TokenRange {
            first: 0,
            tokens: tokens.try_into().unwrap(),
        };
        let share = pool_part(embedding, all, tokens, &features, HIDDEN);
        let vector = combine(&bundle, embedding, &[(all, share)])
            .unwrap()
            .unwrap();
        assert_eq!(vector.len(), embedding.width(HIDDEN));
        vector
    }

    /// Panics unless the vector of `text` is the one expected.
    fn check(&self, what: &str, text: &str, expected: &[f32]) {
        let found = self.embed(text);
        assert_eq!(found.len(), expected.len(), "{what}");
        for (a, b) in found.iter().zip(expected) {
            assert!(
                (a - b).abs() < 2e-5,
                "{what}: {found:?} instead of {expected:?}"
            );
        }
    }

    fn refusal(&self) -> String {
        let refusal = hugging_face::open(self.path()).unwrap_err().to_string();
        let place = format!("{}/", self.path().display());
        refusal.replace(&place, "")
    }
}

fn tensor(seed: usize, dims: &[usize], around: f64) -> Stored {
    let values = (0..dims.iter().product()).map(|i: usize| {
        let mixed = (i * i * 17 + i * (37 + seed) + seed * 101) % 251;
        ((mixed as f64 / 251.0 - 0.5) * 2.0 + around) as f32
    });
    let bytes = values.flat_map(f32::to_le_bytes).collect();
    (Dtype::F32, dims.to_vec(), bytes)
}

/// The seed of a tensor is its place in the order of the names.
fn model() -> BTreeMap<String, Stored> {
    let mut dims: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut add = |name: String, of: &[usize]| drop(dims.insert(name, of.to_vec()));
    let norm = |name: &str| [format!("{name}.weight"), format!("{name}.bias")];
    for (part, rows) in [("word", VOCAB.len()), ("position", 32), ("token_type", 2)] {
        add(
            format!("embeddings.{part}_embeddings.weight"),
            &[rows, HIDDEN],
        );
    }
    for name in norm("embeddings.LayerNorm") {
        add(name, &[HIDDEN]);
    }
    for layer in 0..LAYERS {
        let of = |part: &str| format!("encoder.layer.{layer}.{part}");
        for (part, outputs, inputs) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", MLP, HIDDEN),
            ("output.dense", HIDDEN, MLP),
        ] {
            add(format!("{}.weight", of(part)), &[outputs, inputs]);
            add(format!("{}.bias", of(part)), &[outputs]);
        }
        for part in ["attention.output.LayerNorm", "output.LayerNorm"] {
            for name in norm(&of(part)) {
                add(name, &[HIDDEN]);
            }
        }
    }
    let tensors = dims.into_iter().enumerate().map(|(seed, (name, dims))| {
        let around = if name.ends_with("LayerNorm.weight") {
            1.0
        } else {
            0.0
        };
        let tensor = tensor(seed, &dims, around);
        (name, tensor)
    });
    tensors.collect()
}

fn tokenizer(lower_case: bool) -> Value {
    let added = |(id, token): (usize, &&str)| {
        json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    let special: Vec<Value> = VOCAB.iter().take(4).enumerate().map(added).collect();
    let vocab = VOCAB.iter().enumerate();
    let vocab: BTreeMap<&str, usize> = vocab.map(|(id, token)| (*token, id)).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": special,
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": lower_case },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                       { "Sequence": { "id": "A", "type_id": 0 } },
                       { "SpecialToken": { "id": "[SEP]", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] } },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": vocab },
    })
}
