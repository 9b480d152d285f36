use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Directory, HIDDEN, model};

const POOLING: &str = "1_Pooling/config.json";

fn mean() -> (&'static str, Value) {
    (POOLING, json!({ "pooling_mode": "mean" }))
}

#[test]
fn modules_that_are_not_computed_are_named() {
    for (modules, number, found) in [
        (&["Transformer", "Pooling", "LayerNorm"][..], 2, "LayerNorm"),
        (
            &["Transformer", "WeightedLayerPooling", "Pooling"],
            1,
            "WeightedLayerPooling",
        ),
        (&["Transformer", "CNN", "Pooling"], 1, "CNN"),
        (&["Transformer", "LSTM", "Pooling"], 1, "LSTM"),
        (&["Transformer", "Normalize", "Pooling"], 1, "Normalize"),
        (&["Transformer", "Dense", "Pooling"], 1, "Dense"),
        (&["Transformer", "Pooling", "Pooling"], 2, "Pooling"),
        (&["StaticEmbedding", "Normalize"], 0, "StaticEmbedding"),
        (&["BoW", "Dense"], 0, "BoW"),
        (&["Router"], 0, "Router"),
        (&["Asym"], 0, "Asym"),
        (&["Pooling"], 0, "Pooling"),
    ] {
        let refusal = Directory::with(modules, &[mean()]).refusal();
        let expected = format!(
            "modules.json: module {number}: type: found \"sentence_transformers.models.{found}\", expected "
        );
        assert!(refusal.starts_with(&expected), "{refusal}");
    }
    let refusal = Directory::with(&["Transformer"], &[]).refusal();
    assert_eq!(
        refusal,
        "modules.json: module 1: type: found \"\", expected Pooling"
    );

    let directory = Directory::with(&["Transformer", "Pooling"], &[mean()]);
    directory.modules("custom_st.", &["Transformer", "Pooling"]);
    assert!(
        directory
            .refusal()
            .contains("found \"custom_st.Transformer\"")
    );
    let old = json!([{ "path": "0_Transformer", "type": "Transformer" }]);
    directory.write("modules.json", &old);
    assert!(
        directory
            .refusal()
            .contains("module 0: path: found \"0_Transformer\", expected")
    );
}

const FIELDS: &str = r#"
1_Pooling/config.json { "pooling_mode": ["mean", "cls"] } | pooling_mode: found ["mean","cls"], expected one of
1_Pooling/config.json { "pooling_mode": "median" } | pooling_mode: found "median", expected one of
1_Pooling/config.json { "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true } | pooling_mode: found ["cls","mean"]
1_Pooling/config.json { "pooling_mode_first_last_avg": true } | pooling_mode_first_last_avg: found true, expected no such field
sentence_bert_config.json { "transformer_task": "fill-mask" } | transformer_task: found "fill-mask", expected "feature-extraction"
sentence_bert_config.json { "module_output_name": "scores" } | module_output_name: found "scores"
sentence_bert_config.json { "modality_config": { "text": { "method": "forward", "method_output_name": "pooler_output" } } } | modality_config.text.method_output_name: found "pooler_output", expected "last_hidden_state"
sentence_bert_config.json { "tokenizer_args": { "add_special_tokens": false } } | tokenizer_args.add_special_tokens: found false
sentence_bert_config.json { "processing_kwargs": { "text": { "max_length": 8 } } } | processing_kwargs: found
sentence_bert_config.json { "query_expansion": { "token": "[MASK]" } } | query_expansion: found
sentence_bert_config.json { "max_seq_length": "long" } | max_seq_length: found "long", expected a number
config_sentence_transformers.json { "default_prompt_name": "task", "prompts": { "query": "q: " } } | default_prompt_name: found "task", expected one of ["query"]
config_sentence_transformers.json { "model_type": "SparseEncoder" } | model_type: found "SparseEncoder", expected "SentenceTransformer"
config_sentence_transformers.json { "truncate_dim": 0 } | truncate_dim: found 0
"#;

const DENSE: &str = r#"
2_Dense/config.json { "activation_function": "torch.nn.modules.activation.GELU" } | activation_function: found "torch.nn.modules.activation.GELU", expected torch.nn's Identity, Tanh, ReLU, Sigmoid
2_Dense/config.json { "activation_function": "custom.Tanh" } | activation_function: found "custom.Tanh"
2_Dense/config.json { "in_features": 7 } | in_features: found 7, expected 8
2_Dense/config.json { "out_features": null } | out_features: found nothing
2_Dense/config.json { "out_features": 0 } | out_features: found 0, expected 1 to
2_Dense/config.json { "use_residual": true } | use_residual: found true, expected false
2_Dense/config.json { "module_input_name": "token_embeddings" } | module_input_name: found "token_embeddings"
2_Dense/config.json { "gate": 1 } | gate: found 1, expected no such field
"#;

/// A line `FILE JSON | REFUSAL` of a table.
fn case(line: &'static str) -> (&'static str, Value, &'static str) {
    let (file, rest) = line.split_once(' ').unwrap();
    let (value, said) = rest.split_once(" | ").unwrap();
    (file, serde_json::from_str(value).unwrap(), said)
}

#[test]
fn fields_that_are_not_computed_are_named() {
    for (file, value, said) in FIELDS.trim().lines().map(case) {
        let directory = Directory::with(&["Transformer", "Pooling"], &[mean(), (file, value)]);
        let refusal = directory.refusal();
        assert!(refusal.starts_with(&format!("{file}: {said}")), "{refusal}");
    }
    let directory = Directory::with(&["Transformer", "Pooling"], &[]);
    assert!(directory.refusal().starts_with(&format!(
        "{POOLING}: the pooling's configuration: found nothing"
    )));
}

#[test]
fn dense_layers_that_are_not_computed_are_named() {
    const FILE: &str = "2_Dense/config.json";
    let tanh = "torch.nn.modules.activation.Tanh";
    for (file, change, said) in DENSE.trim().lines().map(case) {
        let mut config =
            json!({ "in_features": HIDDEN, "out_features": 3, "activation_function": tanh });
        for (name, value) in change.as_object().unwrap() {
            config[name] = value.clone();
        }
        let directory = Directory::with(
            &["Transformer", "Pooling", "Dense"],
            &[mean(), (file, config)],
        );
        directory.dense("2_Dense", 200, [3, HIDDEN], true);
        let refusal = directory.refusal();
        assert!(refusal.starts_with(&format!("{file}: {said}")), "{refusal}");
    }
    let config = json!({ "in_features": HIDDEN, "out_features": 3 });
    let directory = Directory::with(
        &["Transformer", "Pooling", "Dense"],
        &[mean(), (FILE, config)],
    );
    directory.write("2_Dense/pytorch_model.bin", &json!(0));
    let refusal = directory.refusal();
    let expected = "2_Dense/model.safetensors: the layer's weights: found pytorch_model.bin, expected model.safetensors, which";
    assert!(refusal.starts_with(expected), "{refusal}");
    directory.dense("2_Dense", 200, [4, HIDDEN], true);
    assert!(
        directory
            .refusal()
            .contains("linear.weight: found dimensions [4, 8], expected [3, 8]")
    );
    directory.dense("2_Dense", 200, [3, HIDDEN], false);
    assert!(directory.refusal().contains("linear.bias: found nothing"));
}

#[test]
fn a_normalization_of_tokens_is_refused() {
    let config = json!({ "module_input_name": "token_embeddings" });
    let modules = ["Transformer", "Pooling", "Normalize"];
    let directory = Directory::with(&modules, &[mean(), ("2_Normalize/config.json", config)]);
    let expected = "2_Normalize/config.json: module_input_name: found \"token_embeddings\", expected \"sentence_embedding\"";
    assert_eq!(directory.refusal(), expected);
}

#[test]
fn two_encoders_in_one_file_are_refused() {
    let both = ["query.", "document."].into_iter().flat_map(|prefix| {
        let tensors = model().into_iter();
        tensors.map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
    });
    let tensors: BTreeMap<_, _> = both.collect();
    let directory = Directory::new(true);
    directory.save("model.safetensors", &tensors);
    let refusal = directory.refusal();
    assert!(
        refusal.contains("[\"document.\", \"query.\"], expected one encoder"),
        "{refusal}"
    );
}

#[test]
fn limits_of_the_directory_are_followed() {
    let most =
        |directory: &Directory| match astra_export::source::hugging_face::open(directory.path())
            .unwrap()
            .content
        {
            astra_export::source::Content::Text(text) => text.input.max_tokens,
            astra_export::source::Content::Image(_) => 0,
        };
    let directory = Directory::with(&["Transformer", "Pooling"], &[mean()]);
    assert_eq!(most(&directory), 32);
    for (limit, expected) in [(json!(20), 20), (json!(1e30), 32), (json!(null), 32)] {
        directory.write(
            "tokenizer_config.json",
            &json!({ "model_max_length": limit }),
        );
        assert_eq!(most(&directory), expected);
    }
    directory.write("tokenizer_config.json", &json!({ "model_max_length": 20 }));
    directory.write(
        "sentence_bert_config.json",
        &json!({ "max_seq_length": 24 }),
    );
    assert_eq!(most(&directory), 24);
    directory.write(
        "sentence_bert_config.json",
        &json!({ "max_seq_length": 512 }),
    );
    assert_eq!(most(&directory), 32);
}
