//! Directories as the `transformers` library writes them.

use std::collections::BTreeMap;
use std::path::Path;

use astra_export::family::vit::{Classifier, Head, Pooling, VitModel};
use astra_export::family::weights::{Linear, Norm};
use astra_export::source::hugging_face;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::exporter::columns;
use crate::models::{HEADS, HIDDEN, MLP, PATCH, Random, TRAINED_SIDE, vit};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// What the parts of a model are called, by architecture.
pub(crate) struct Names {
    prefix: &'static str,
    norms: [&'static str; 2],
    mlp: [&'static str; 2],
    scales: bool,
}

pub(crate) const DINOV2: Names = Names {
    prefix: "dinov2.",
    norms: ["norm1", "norm2"],
    mlp: ["mlp.fc1", "mlp.fc2"],
    scales: true,
};

pub(crate) const VIT: Names = Names {
    prefix: "vit.",
    norms: ["layernorm_before", "layernorm_after"],
    mlp: ["intermediate.dense", "output.dense"],
    scales: false,
};

/// A directory with a model, and that model as it has to be read.
pub(crate) struct Directory {
    folder: tempfile::TempDir,
    config: Value,
    tensors: Tensors,
    expected: VitModel,
}

fn config(names: &Names, blocks: usize, classes: usize) -> Value {
    let labels: BTreeMap<_, _> = (0..classes)
        .map(|class| (class.to_string(), format!("label {class}")))
        .collect();
    json!({
        "architectures": ["Something"],
        "model_type": names.prefix.trim_end_matches('.'),
        "hidden_size": HIDDEN,
        "num_hidden_layers": blocks,
        "num_attention_heads": HEADS,
        "patch_size": PATCH,
        "image_size": PATCH * TRAINED_SIDE,
        "mlp_ratio": MLP as f64 / HIDDEN as f64,
        "intermediate_size": MLP,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "qkv_bias": true,
        "id2label": labels,
    })
}

impl Directory {
    pub(crate) fn new(names: &Names, prefixed: bool, classes: usize) -> Self {
        let mut random = Random::new(21);
        let pooling = if names.scales {
            Pooling::ClassAndMean
        } else {
            Pooling::Class
        };
        let head = match classes {
            0 => Head::Features,
            classes => random.classifier(pooling, classes),
        };
        let mut model = random.model(head);
        for norm in model
            .blocks
            .iter_mut()
            .flat_map(|block| [&mut block.norm1, &mut block.norm2])
        {
            norm.epsilon = 1e-5;
        }
        model.norm.epsilon = 1e-5;
        let mut writer = Writer {
            prefix: if prefixed { names.prefix } else { "" },
            tensors: Tensors::new(),
        };
        writer.model(names, &model);
        if let Head::Classification(Classifier { linear, labels, .. }) = &mut model.head {
            writer.prefix = "";
            writer.linear("classifier", linear);
            *labels = Some((0..classes).map(|class| format!("label {class}")).collect());
        }
        if names.scales {
            for block in &mut model.blocks {
                block.output.scale_outputs(&[0.5; HIDDEN]);
                block.down.scale_outputs(&[0.25; HIDDEN]);
            }
        }
        let config = config(names, model.blocks.len(), classes);
        let directory = Self {
            folder: tempfile::tempdir().unwrap(),
            config,
            tensors: writer.tensors,
            expected: model,
        };
        directory.write("config.json", directory.config.to_string().as_bytes());
        directory.save(Dtype::F32);
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }

    /// Writes the tensors anew, in that precision.
    fn save(&self, dtype: Dtype) {
        let bytes = |values: &[f32]| -> Vec<u8> {
            match dtype {
                Dtype::BF16 => values
                    .iter()
                    .flat_map(|v| v.to_le_bytes()[2..].to_vec())
                    .collect(),
                _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            }
        };
        let tensors: BTreeMap<_, _> = self
            .tensors
            .iter()
            .map(|(name, (dims, values))| (name, (dims.clone(), bytes(values))))
            .collect();
        let views = tensors.iter().map(|(name, (dims, bytes))| {
            (
                name.as_str(),
                TensorView::new(dtype, dims.clone(), bytes).unwrap(),
            )
        });
        self.write(
            "model.safetensors",
            &safetensors::serialize(views, None).unwrap(),
        );
    }

    /// What is said of the directory after a change to its configuration.
    fn refusal_of(&self, field: &str, value: Value) -> String {
        let mut config = self.config.clone();
        config[field] = value;
        self.write("config.json", config.to_string().as_bytes());
        self.refusal()
    }

    pub(crate) fn refusal(&self) -> String {
        hugging_face::open(self.path())
            .expect_err("a changed directory")
            .to_string()
    }
}

struct Writer {
    prefix: &'static str,
    tensors: Tensors,
}

impl Writer {
    fn model(&mut self, names: &Names, model: &VitModel) {
        let embeddings = "embeddings.patch_embeddings.projection";
        let sides = [HIDDEN, 3, PATCH, PATCH];
        self.tensor(
            &format!("{embeddings}.weight"),
            &sides,
            &columns(&model.projection),
        );
        self.tensor(
            &format!("{embeddings}.bias"),
            &[HIDDEN],
            &model.projection.bias,
        );
        // The class token in two halves, to see them added.
        let half: Vec<f32> = model.class_token.iter().map(|value| value / 2.0).collect();
        self.tensor("embeddings.cls_token", &[1, 1, HIDDEN], &half);
        let table = [&half, model.positions.values()].concat();
        let rows = 1 + TRAINED_SIDE * TRAINED_SIDE;
        self.tensor("embeddings.position_embeddings", &[1, rows, HIDDEN], &table);
        self.tensor("embeddings.mask_token", &[1, HIDDEN], &[0.0; HIDDEN]);
        for (number, block) in model.blocks.iter().enumerate() {
            let name = |part: &str| format!("encoder.layer.{number}.{part}");
            self.norm(&name(names.norms[0]), &block.norm1);
            self.norm(&name(names.norms[1]), &block.norm2);
            for (part, linear) in [
                ("query", &block.query),
                ("key", &block.key),
                ("value", &block.value),
            ] {
                self.linear(&name(&format!("attention.attention.{part}")), linear);
            }
            self.linear(&name("attention.output.dense"), &block.output);
            self.linear(&name(names.mlp[0]), &block.up);
            self.linear(&name(names.mlp[1]), &block.down);
            if names.scales {
                self.tensor(&name("layer_scale1.lambda1"), &[HIDDEN], &[0.5; HIDDEN]);
                self.tensor(&name("layer_scale2.lambda1"), &[HIDDEN], &[0.25; HIDDEN]);
            }
        }
        self.norm("layernorm", &model.norm);
    }

    fn tensor(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        let name = format!("{}{name}", self.prefix);
        self.tensors.insert(name, (dims.to_vec(), values.to_vec()));
    }

    fn norm(&mut self, name: &str, norm: &Norm) {
        self.tensor(&format!("{name}.weight"), &[HIDDEN], &norm.weight);
        self.tensor(&format!("{name}.bias"), &[HIDDEN], &norm.bias);
    }

    fn linear(&mut self, name: &str, linear: &Linear) {
        let dims = [linear.outputs, linear.inputs];
        self.tensor(&format!("{name}.weight"), &dims, &columns(linear));
        self.tensor(&format!("{name}.bias"), &[linear.outputs], &linear.bias);
    }
}

#[test]
fn both_architectures_bare_and_with_classifier() {
    for names in [DINOV2, VIT] {
        for (prefixed, classes) in [(false, 0), (true, 0), (true, 5)] {
            let directory = Directory::new(&names, prefixed, classes);
            let imported = vit(hugging_face::open(directory.path()).unwrap());
            assert_eq!(imported.model, directory.expected);
        }
    }
}

#[test]
fn brain_floats_are_read() {
    let directory = Directory::new(&VIT, true, 0);
    directory.save(Dtype::BF16);
    let imported = vit(hugging_face::open(directory.path()).unwrap()).model;
    for (found, exact) in imported
        .norm
        .weight
        .iter()
        .zip(&directory.expected.norm.weight)
    {
        assert_eq!(found.to_bits(), exact.to_bits() & 0xffff_0000);
    }
}

#[test]
fn attention_may_have_no_bias() {
    let mut directory = Directory::new(&VIT, true, 0);
    directory.config["qkv_bias"] = json!(false);
    directory.write("config.json", directory.config.to_string().as_bytes());
    let biases = |name: &String| name.contains("attention.attention") && name.ends_with("bias");
    directory.tensors.retain(|name, _| !biases(name));
    directory.save(Dtype::F32);
    let imported = vit(hugging_face::open(directory.path()).unwrap());
    assert_eq!(imported.model.blocks[0].key.bias, [0.0; HIDDEN]);
}

#[test]
fn other_models_are_refused_by_field() {
    let directory = Directory::new(&DINOV2, true, 0);
    for (field, value, said) in [
        ("use_swiglu_ffn", json!(true), "SwiGLU is not supported"),
        ("hidden_act", json!("relu"), "\"relu\", expected \"gelu\""),
        (
            "model_type",
            json!("dinov2_with_registers"),
            "dinov2_with_registers",
        ),
        ("num_channels", json!(1), "num_channels"),
        ("hidden_size", json!(0), "hidden_size"),
        ("hidden_size", json!(-1), "config.json"),
        (
            "num_attention_heads",
            json!(5),
            "a divisor of the 24 channels",
        ),
        ("mlp_ratio", json!(1e300), "width of the MLP"),
        ("num_hidden_layers", json!(2), "more than 2 layers"),
        ("num_hidden_layers", json!(4), "encoder.layer.3."),
        ("hidden_size", json!(48), "[48, 48]"),
    ] {
        let refusal = directory.refusal_of(field, value);
        assert!(refusal.contains(said), "{field}: {refusal}");
    }
}

#[test]
fn every_missing_or_reshaped_tensor_is_named() {
    let mut directory = Directory::new(&DINOV2, true, 3);
    let names: Vec<String> = directory.tensors.keys().cloned().collect();
    for name in names {
        if name.ends_with("mask_token") {
            continue;
        }
        let tensor = directory.tensors.remove(&name).unwrap();
        directory.save(Dtype::F32);
        // Without its weight there is no classifier.
        if name != "classifier.weight" {
            let refusal = directory.refusal();
            assert!(
                refusal.contains(&name) && refusal.contains("found nothing"),
                "{refusal}"
            );
        }
        let (mut dims, values) = tensor.clone();
        dims.push(1);
        directory.tensors.insert(name.clone(), (dims, values));
        directory.save(Dtype::F32);
        let refusal = directory.refusal();
        assert!(refusal.contains(&name), "{refusal}");
        directory.tensors.insert(name, tensor);
    }
}

#[test]
fn torn_weights_are_refused() {
    let directory = Directory::new(&VIT, false, 0);
    let whole = std::fs::read(directory.path().join("model.safetensors")).unwrap();
    for end in (0..whole.len()).step_by(97) {
        directory.write("model.safetensors", &whole[..end]);
        assert!(directory.refusal().contains("model.safetensors"));
    }
    for at in (0..2000).step_by(7) {
        let mut edited = whole.clone();
        edited[at] ^= 0x15;
        directory.write("model.safetensors", &edited);
        let _ = hugging_face::open(directory.path());
    }
    std::fs::remove_file(directory.path().join("model.safetensors")).unwrap();
    let refusal = directory.refusal();
    assert!(refusal.contains("weights: found nothing"), "{refusal}");
}
