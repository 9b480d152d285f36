use std::collections::BTreeMap;

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::{Directory, HIDDEN, Stored, TEXT, model, tensor};

const MEAN: [f32; HIDDEN] = [
    0.809391, 0.17974, 0.686838, 0.408907, -2.227702, -0.598321, -1.464907, 2.289819,
];
/// `The CAT sats` in lower case, and as it is.
const LOWER: [f32; HIDDEN] = [
    1.1163, 0.190277, 0.674192, 0.306515, -1.838351, -0.559579, -1.746527, 2.132011,
];
const CASED: [f32; HIDDEN] = [
    1.769565, 0.210365, 0.108846, 0.487474, -1.69849, -0.97886, -2.410193, 1.53688,
];
const PROMPTED: &str = "config_sentence_transformers.json";

fn pooling(mode: Value, include_prompt: bool) -> (&'static str, Value) {
    let config = json!({
        "embedding_dimension": HIDDEN, "pooling_mode": mode, "include_prompt": include_prompt,
    });
    ("1_Pooling/config.json", config)
}

#[test]
fn a_bare_model_is_the_mean() {
    let directory = Directory::new(true);
    directory.check("mean", TEXT, &MEAN);
    // Without modules the library looks at nothing else.
    directory.write("sentence_bert_config.json", &json!({ "max_seq_length": 3 }));
    directory.check("mean", TEXT, &MEAN);
}

#[rustfmt::skip]
const POOLED: [(&str, &str, [f32; HIDDEN]); 6] = [
    ("cls", "pooling_mode_cls_token", [0.704013, 0.190629, -0.192293, 0.713215, -3.153611, -0.52648, -1.462044, 2.550979]),
    ("max", "pooling_mode_max_tokens", [1.095843, 0.190629, 1.010163, 0.713215, -1.807353, -0.384871, -0.985161, 2.695657]),
    ("mean", "pooling_mode_mean_tokens", MEAN),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", [2.428172, 0.539221, 2.060515, 1.226722, -6.683107, -1.794963, -4.394721, 6.869457]),
    ("weightedmean", "pooling_mode_weightedmean_tokens", [0.831886, 0.179026, 0.725403, 0.396571, -2.203501, -0.593922, -1.483489, 2.283545]),
    ("lasttoken", "pooling_mode_lasttoken", [1.031752, 0.17826, 0.812578, 0.345091, -1.807353, -0.626071, -1.759446, 2.154403]),
];

#[test]
fn every_way_to_pool_and_to_say_it() {
    let modules = ["Transformer", "Pooling"];
    for (mode, flag, expected) in POOLED {
        let mut flags = json!({ "word_embedding_dimension": HIDDEN });
        for (_, other, _) in POOLED {
            flags[other] = json!(other == flag);
        }
        for config in [
            ("1_Pooling/config.json", flags),
            pooling(json!(mode), true),
            pooling(json!([mode]), true),
        ] {
            let directory = Directory::with(&modules, &[config]);
            directory.check(mode, TEXT, &expected);
        }
    }
    let silent = json!({ "word_embedding_dimension": HIDDEN });
    let directory = Directory::with(&modules, &[("1_Pooling/config.json", silent)]);
    directory.check("no flags", TEXT, &MEAN);
}

/// Names of all versions: before 5.4, since 5.4, since 6.0, and the class alone.
#[test]
fn modules_have_many_names() {
    let expected = [0.216039, 0.047976, 0.183328, 0.109144, -0.594609];
    for namespace in [
        "sentence_transformers.models.",
        "sentence_transformers.sentence_transformer.modules.",
        "sentence_transformers.base.modules.",
        "",
    ] {
        let directory = Directory::new(true);
        directory.modules(namespace, &["Transformer", "Pooling", "Normalize"]);
        let (name, config) = pooling(json!("mean"), true);
        directory.write(name, &config);
        directory.write(PROMPTED, &json!({ "truncate_dim": 5 }));
        directory.check(namespace, TEXT, &expected);
        // Since 6.0 the module has a configuration.
        let name = "sentence_embedding";
        let config = json!({ "module_input_name": name, "module_output_name": name });
        directory.write("2_Normalize/config.json", &config);
        directory.check(namespace, TEXT, &expected);
    }
}

/// Two dense layers after a normalization, to a width above that of the model and back.
#[test]
fn dense_layers_are_applied_in_order() {
    let modules = [
        "Transformer",
        "Pooling",
        "Normalize",
        "Dense",
        "Dropout",
        "Dense",
    ];
    let first = json!({ "in_features": 8, "out_features": 12, "bias": true,
                        "activation_function": "torch.nn.modules.activation.Tanh" });
    let last = json!({ "in_features": 12, "out_features": 5, "bias": false,
                       "activation_function": "torch.nn.modules.linear.Identity" });
    let directory = Directory::with(
        &modules,
        &[
            pooling(json!("mean"), true),
            ("3_Dense/config.json", first),
            ("4_Dropout/config.json", json!({ "dropout": 0.5 })),
            ("5_Dense/config.json", last),
        ],
    );
    directory.dense("3_Dense", 200, [12, HIDDEN], true);
    directory.dense("5_Dense", 300, [5, 12], false);
    let expected = [-1.608063, 0.650747, -0.901736, 0.02789, -1.740847];
    directory.check("two layers", TEXT, &expected);
}

#[test]
fn activations_of_dense_layers() {
    for (activation, expected) in [
        (None, [0.683526, 0.722393, -0.368749]),
        (Some("activation.ReLU"), [0.835702, 0.912632, 0.0]),
        (Some("activation.Sigmoid"), [0.697559, 0.713539, 0.404446]),
    ] {
        let mut config = json!({ "in_features": 8, "out_features": 3 });
        if let Some(activation) = activation {
            config["activation_function"] = json!(format!("torch.nn.modules.{activation}"));
        }
        let directory = Directory::with(
            &["Transformer", "Pooling", "Dense"],
            &[
                pooling(json!("mean"), true),
                ("2_Dense/config.json", config),
            ],
        );
        directory.dense("2_Dense", 200, [3, HIDDEN], true);
        directory.check(activation.unwrap_or("default"), TEXT, &expected);
    }
}

#[test]
fn texts_are_put_into_lower_case_where_the_directory_says_so() {
    for (lower, expected) in [(true, LOWER), (false, CASED)] {
        let directory = Directory::new(false);
        directory.write("tokenizer_config.json", &json!({ "do_lower_case": false }));
        directory.modules("sentence_transformers.models.", &["Transformer", "Pooling"]);
        let (name, config) = pooling(json!("mean"), true);
        directory.write(name, &config);
        let config = json!({ "max_seq_length": 16, "do_lower_case": lower });
        directory.write("sentence_bert_config.json", &config);
        directory.check("lower case", "The CAT sats", &expected);
    }
}

/// BERT's tokenizer follows its configuration, and its defaults where that is silent (transformers 5.24), not the normalizer in its
/// file.
#[test]
fn the_configuration_of_the_tokenizer_decides() {
    Directory::new(false).check("no configuration", "The CAT sats", &LOWER);
    for (in_file, configured, expected) in [(false, true, LOWER), (true, false, CASED)] {
        let directory = Directory::new(in_file);
        let config = json!({ "tokenizer_class": "BertTokenizer", "do_lower_case": configured });
        directory.write("tokenizer_config.json", &config);
        directory.check("do_lower_case", "The CAT sats", &expected);
    }
}

/// With and without the tokens of the prompt.
#[rustfmt::skip]
const WITH_PROMPT: [(&str, [[f32; HIDDEN]; 2]); 6] = [
    ("cls", [[-0.839063, 0.213997, -1.402421, 0.879227, -3.13536, 0.676565, -0.493035, 2.497897],
             [0.09035, 0.174444, 0.973136, 0.27831, -2.335826, -0.373033, -0.454003, 2.488483]]),
    ("max", [[0.65379, 0.258949, 0.975476, 0.923814, -1.977439, 0.676565, 0.084771, 3.047848],
             [0.594598, 0.258949, 0.974777, 0.923814, -1.977439, 0.521974, 0.084771, 3.047848]]),
    ("mean", [[-0.073388, 0.186793, 0.258418, 0.473742, -2.528241, -0.156342, -0.62104, 2.464737],
              [-0.182449, 0.189171, 0.223596, 0.477729, -2.569679, -0.150701, -0.511829, 2.493636]]),
    ("mean_sqrt_len_tokens", [[-0.254223, 0.647071, 0.895185, 1.641092, -8.758084, -0.541583, -2.151347, 8.538101],
                              [-0.516045, 0.535056, 0.632426, 1.351223, -7.268148, -0.426246, -1.447671, 7.053067]]),
    ("weightedmean", [[-0.116377, 0.18649, 0.292915, 0.466123, -2.559627, -0.17449, -0.557128, 2.504341],
                      [-0.177826, 0.187945, 0.234812, 0.480334, -2.598029, -0.153165, -0.511632, 2.518981]]),
    ("lasttoken", [[0.477115, 0.167547, 0.884274, 0.365317, -2.317047, -0.478426, -0.914853, 2.364223],
                   [0.477115, 0.167547, 0.884274, 0.365317, -2.317047, -0.478426, -0.914853, 2.364223]]),
];

#[test]
fn the_default_prompt_goes_before_every_text() {
    for (mode, both) in WITH_PROMPT {
        for (include, expected) in [true, false].into_iter().zip(both) {
            let prompts = json!({ "query": "a dog: ", "document": "" });
            let config = json!({ "prompts": prompts, "default_prompt_name": "query",
                                 "similarity_fn_name": "cosine", "__version__": {} });
            let directory = Directory::with(
                &["Transformer", "Pooling"],
                &[pooling(json!(mode), include), (PROMPTED, config)],
            );
            directory.check(&format!("{mode} {include}"), TEXT, &expected);
        }
    }
}

/// Names of TensorFlow, a prefix, heads and buffers: the model is the same.
#[test]
fn weights_have_many_names() {
    type Rename = fn(&str) -> String;
    let old: Rename = |name| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        format!("bert.{}", name.replace("LayerNorm.bias", "LayerNorm.beta"))
    };
    let wrapped: Rename = |name| format!("0.auto_model.{name}");
    for rename in [old, wrapped] {
        let tensors = model().into_iter();
        let tensors = tensors.map(|(name, tensor)| (rename(&name), tensor));
        let mut tensors: BTreeMap<String, Stored> = tensors.collect();
        let prefix = rename("");
        let ids: Vec<u8> = (0..32_i64).flat_map(i64::to_le_bytes).collect();
        tensors.insert(
            format!("{prefix}embeddings.position_ids"),
            (Dtype::I64, vec![1, 32], ids),
        );
        for name in ["cls.predictions.bias", "classifier.bias"] {
            tensors.insert(name.to_owned(), tensor(1, &[3], 0.0));
        }
        let pooler = format!("{prefix}pooler.dense.weight");
        tensors.insert(pooler, tensor(1, &[HIDDEN, HIDDEN], 0.0));
        let directory = Directory::new(true);
        directory.save("model.safetensors", &tensors);
        directory.check(&prefix, TEXT, &MEAN);
    }
}
