//! OpenAI's own client for Python against devices.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::device::{Cluster, language_dir, openai_folder, run, sentences_dir};

/// What the client got.
fn client(cluster: &Cluster, what: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai_client.py");
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", openai_folder())
        .arg(script)
        .arg(format!("http://{}/v1", cluster.http()))
        .arg(what);
    let output = run(&mut command);
    assert!(output.status.success(), "{output:?}; {}", cluster.logs());
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn it_completes_and_chats_as_a_stream_too() {
    let cluster = Cluster::with_bundle(&language_dir(), &["a", "b"]);
    let got = client(&cluster, "generate");
    assert!(
        got["completion"].as_str().unwrap().contains("Paris"),
        "{got}"
    );
    assert_eq!(got["completion_finish"], "length");
    assert_eq!(got["completion_tokens"], 8);
    assert_eq!(got["again"], got["completion"], "{got}");
    assert!(!got["members"].as_array().unwrap().is_empty());
    assert!(got["chat"].as_str().unwrap().contains("Paris"), "{got}");
    assert_eq!(got["role"], "assistant");
    assert_eq!(got["chat_finish"], "stop");
    assert_eq!(got["streamed"], got["chat"], "{got}");
    assert_eq!(got["stream_finish"], "stop");
    assert_eq!(got["stream_tokens"], got["chat_tokens"]);
    assert!(got["pieces"].as_u64().unwrap() > 4, "{got}");
    assert_eq!(got["stream_class"], "exact");
    let follow_ups = got["follow_ups"].as_array().unwrap();
    assert_ne!(follow_ups[0], "", "{got}");
    assert_eq!(follow_ups[0], follow_ups[1], "{got}");
    let broken = client(&cluster, "broken");
    assert_eq!(
        broken,
        json!({
            "model": ["NotFoundError", 404, "model_not_found", "model"],
            "empty": ["BadRequestError", 400, "empty_prompt", "prompt"],
            "long": ["BadRequestError", 400, "context_length_exceeded", "prompt"],
            "many": ["BadRequestError", 400, "unsupported_parameter", "n"],
            "task": ["BadRequestError", 400, "unsupported_task", "model"],
        })
    );
}

#[test]
fn it_embeds() {
    let cluster = Cluster::with_bundle(&sentences_dir(), &["a", "b"]);
    let got = client(&cluster, "embed");
    let vector = |value: &Value| -> Vec<f64> {
        let list = value.as_array().unwrap();
        list.iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let packed: Vec<Vec<f64>> = got["packed"]
        .as_array()
        .unwrap()
        .iter()
        .map(vector)
        .collect();
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for embedding in &packed {
        assert_eq!(embedding.len(), 384);
        assert!((cosine(embedding, embedding) - 1.0).abs() < 1e-5);
    }
    // Two sentences that mean much the same, and one that does not.
    assert!(cosine(&packed[0], &packed[1]) > 0.4);
    assert!(cosine(&packed[0], &packed[2]) < 0.2);
    let plain = vector(&got["plain"]);
    assert!(cosine(&plain, &packed[0]) > 0.9999);
    assert!(cosine(&plain, &vector(&got["coded"])) > 0.9999);
    assert!(got["tokens"].as_u64().unwrap() > 20);
}
