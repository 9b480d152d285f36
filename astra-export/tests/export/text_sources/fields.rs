//! `SOURCES.md` says what becomes of every field of `config.json`; here each is tried.

use std::path::Path;

use astra_export::source::hugging_face;
use serde_json::{Value, json};

/// A row of a family's table: names without their neutral values.
fn row<'a>(section: &'a str, title: &str) -> Vec<&'a str> {
    let row = section
        .lines()
        .find_map(|line| line.strip_prefix(&format!("| {title} |")));
    let cells = row.unwrap_or_default().split('`');
    cells.skip(1).step_by(2).collect()
}

/// The smallest configuration that is taken as far as the weights.
fn config(model_type: &str) -> Value {
    let fields: &[&str] = match model_type {
        "gpt2" => &["n_embd", "n_layer", "n_head", "vocab_size", "n_positions"],
        "vit" | "dinov2" => &["patch_size"],
        "bert" => &["intermediate_size", "vocab_size", "max_position_embeddings"],
        _ => &["intermediate_size", "vocab_size", "num_key_value_heads"],
    };
    let mut config = json!({ "model_type": model_type });
    for field in fields {
        config[field] = json!(8);
    }
    if model_type == "gpt2" {
        config["n_embd"] = json!(64);
    } else {
        config["hidden_size"] = json!(64);
        config["num_attention_heads"] = json!(8);
        config["num_hidden_layers"] = json!(1);
    }
    config
}

fn refusal(folder: &Path, config: &Value) -> String {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    hugging_face::open(folder).unwrap_err().to_string()
}

#[test]
fn every_field_is_treated_as_the_documentation_says() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SOURCES.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // No tensors at all: what is refused last is a missing one.
    let empty = safetensors::serialize(
        std::iter::empty::<(&str, safetensors::tensor::TensorView<'_>)>(),
        None,
    );
    std::fs::write(folder.join("model.safetensors"), empty.unwrap()).unwrap();
    let tokenizer = json!({ "model": { "type": "BPE", "vocab": { "a": 0 }, "merges": [] } });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let sections: Vec<&str> = text.split("\n### ").skip(1).collect();
    let common = sections.last().unwrap();
    let mut tried = 0;
    for section in &sections {
        for model_type in row(section, "`model_type`") {
            let plain = config(model_type);
            let taken = refusal(folder, &plain);
            assert!(taken.contains("found nothing"), "{model_type}: {taken}");
            let with = |name: &str, value: Value| {
                let mut config = plain.clone();
                config[name.replace('*', "some")] = value;
                refusal(folder, &config)
            };
            for name in row(section, "used") {
                // Those of BERT are read after the weights.
                if model_type == "bert" && name.ends_with("_token_id") {
                    continue;
                }
                let said = with(name, json!([[]]));
                assert!(
                    said.contains("config.json: "),
                    "{model_type} {name} is not read: {said}"
                );
                tried += 1;
            }
            for name in row(section, "ignored")
                .into_iter()
                .chain(row(common, "ignored"))
            {
                let said = with(name, json!({ "any": [1, "value"] }));
                assert_eq!(said, taken, "{model_type} {name}");
                tried += 1;
            }
            for name in row(section, "refused unless")
                .into_iter()
                .chain(row(common, "refused unless"))
            {
                let said = with(name, json!(["changed"]));
                let expected = format!("config.json: {name}: found [\"changed\"], expected ");
                assert!(said.contains(&expected), "{model_type}: {said}");
                assert_eq!(with(name, json!(null)), taken, "{model_type} {name}");
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
}
