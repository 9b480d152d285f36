//! The program, as people and scripts call it.

use std::path::Path;
use std::process::{Command, Output};

use astra_bundle::{Bundle, Task};
use serde_json::Value;

use crate::hugging_face::{DINOV2, Directory};
use crate::models::{HIDDEN, PATCH};

const SIZE: usize = 5 * PATCH;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_astra-export"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Exports for exact mode; `more` are further arguments.
fn export(source: &Path, out: &Path, size: usize, more: &[&str]) -> Output {
    let (source, out, size) = (
        source.to_str().unwrap(),
        out.to_str().unwrap(),
        size.to_string(),
    );
    let arguments = [
        "export",
        "--no-codec",
        "--hf",
        source,
        "--out",
        out,
        "--size",
        &size,
    ];
    run(&[&arguments, more].concat())
}

fn stderr(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn exports_and_says_what_it_exported() {
    let source = Directory::new(&DINOV2, true, 3);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bundle");
    let said = json(&export(
        source.path(),
        &out,
        SIZE,
        &["--json", "--name", "small", "--seed", "7"],
    ));

    let bundle = Bundle::open(&out).unwrap();
    let manifest = bundle.manifest();
    assert_eq!((manifest.model.as_str(), manifest.seed), ("small", 7));
    assert_eq!((manifest.shape.hidden, manifest.shape.tokens), (HIDDEN, 25));
    assert!(
        matches!(&manifest.task, Task::Classification { labels: Some(labels) } if labels.len() == 3)
    );
    assert!(manifest.rungs.is_empty());
    assert_eq!(said["hash"], bundle.short_hash());
    assert_eq!(said["manifest"]["source"]["file"], "model.safetensors");

    let out = out.to_str().unwrap();
    assert_eq!(
        json(&run(&["info", out, "--json"]))["hash"],
        bundle.short_hash()
    );
    let text = String::from_utf8(run(&["info", out]).stdout).unwrap();
    assert!(
        text.starts_with("small (") && text.contains("exact mode only"),
        "{text}"
    );
}

#[test]
fn a_bundle_is_replaced_only_when_told() {
    let source = Directory::new(&DINOV2, true, 0);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bundle");
    json(&export(source.path(), &out, SIZE, &["--json"]));
    let refusal = stderr(&export(source.path(), &out, 2 * SIZE, &[]));
    assert!(refusal.contains("--force"), "{refusal}");
    assert_eq!(Bundle::open(&out).unwrap().manifest().shape.tokens, 25);
    json(&export(
        source.path(),
        &out,
        2 * SIZE,
        &["--json", "--force"],
    ));
    assert_eq!(Bundle::open(&out).unwrap().manifest().shape.tokens, 100);
}

#[test]
fn refusals_say_what_was_expected_and_leave_nothing_behind() {
    let source = Directory::new(&DINOV2, true, 0);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bundle");
    let refusal = stderr(&export(source.path(), &out, SIZE + 1, &[]));
    assert!(refusal.starts_with("error: "), "{refusal}");
    assert!(
        refusal.contains("size: found 16, expected a multiple of 3"),
        "{refusal}"
    );
    let refusal = stderr(&export(folder.path(), &out, SIZE, &[]));
    assert!(refusal.contains("config.json"), "{refusal}");
    let refusal = stderr(&run(&["export", "--out", out.to_str().unwrap()]));
    assert!(
        refusal.contains("--onnx") && refusal.contains("--hf"),
        "{refusal}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let refusal = stderr(&run(&["info", folder.path().to_str().unwrap()]));
    assert!(refusal.contains("manifest.json"), "{refusal}");
}
