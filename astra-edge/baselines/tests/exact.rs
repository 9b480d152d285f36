//! Baselines as processes, connected by sockets: those that are exact answer as one device does.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const HINT: &str = "run `cargo xtask test`, which provides it";

/// Runs methods on several devices; returns the rows that the first writes.
fn rows(devices: usize, methods: &str, bundle: &str, input: &[&str]) -> Vec<Value> {
    let bundle = cache().join("bundles").join(bundle);
    assert!(bundle.is_dir(), "{} is not there; {HINT}", bundle.display());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rows.json");
    let held: Vec<_> = (0..devices)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses: Vec<String> = held
        .iter()
        .map(|one| one.local_addr().unwrap().to_string())
        .collect();
    drop(held);
    let start = |rank: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_astra-baselines"));
        command
            .arg("--bundle")
            .arg(&bundle)
            .args(["--addresses", &addresses.join(",")])
            .args(["--rank", &rank.to_string(), "--methods", methods])
            .args(["--repeat", "1", "--warm-up", "0", "--one-device", "100"])
            .arg("--out")
            .arg(&out)
            .args(input)
            .stdin(Stdio::null());
        command.spawn().unwrap()
    };
    let mut running: Vec<Child> = (0..devices).map(start).collect();
    let ended: Vec<bool> = running
        .iter_mut()
        .map(|one| one.wait().unwrap().success())
        .collect();
    assert!(ended.iter().all(|good| *good), "{ended:?}");
    serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap()
}

fn cache() -> PathBuf {
    astra_model::paths::cache_dir().unwrap()
}

fn row<'a>(rows: &'a [Value], method: &str) -> &'a Value {
    let found = rows.iter().find(|row| row["method"] == method);
    found.unwrap_or_else(|| panic!("no row of {method}"))
}

#[test]
fn a_picture_divided_by_tokens_or_heads_has_the_answer_of_one_device() {
    let photo = cache().join("samples/coffee.png");
    let input = ["--photo", photo.to_str().unwrap()];
    // Six heads for four devices: not all have as many.
    let rows = rows(4, "sp-f32,sp-f16,tp,bp-1,bp-4", "vit_s_focus-224", &input);
    for (method, least, most) in [
        ("sp-f32", 0.999_999, 1e-4),
        ("tp", 0.999_999, 1e-4),
        ("sp-f16", 0.9999, 1e-2),
    ] {
        let agreement = &row(&rows, method)["agreement"];
        assert!(
            agreement["cls_cosine"].as_f64().unwrap() > least,
            "{method}: {agreement}"
        );
        assert!(
            agreement["patch_cosine"].as_f64().unwrap() > least,
            "{method}: {agreement}"
        );
        assert!(
            agreement["map_max"].as_f64().unwrap() < most,
            "{method}: {agreement}"
        );
    }
    let bytes = |method: &str| row(&rows, method)["bytes_counted"].as_f64().unwrap();
    // 12 blocks of 257 tokens of 384 float32: what must cross the network, and a picture.
    let block = 257.0 * 384.0 * 4.0;
    assert!(bytes("tp") > 12.0 * 2.0 * 2.0 * 3.0 * block);
    assert!(bytes("bp-1") > 12.0 * 3.0 * block && bytes("bp-1") < 13.0 * 3.0 * block);
    assert!(bytes("bp-4") > 3.0 * 3.0 * block && bytes("bp-4") < 4.0 * 3.0 * block);
    assert!(bytes("sp-f16") < 0.55 * bytes("sp-f32"));
    for method in ["bp-1", "bp-4"] {
        let row = row(&rows, method);
        assert!(
            row["agreement"].is_null() && row["note"].is_string(),
            "{row}"
        );
    }
}

#[test]
fn a_prompt_has_the_next_token_of_one_device() {
    let licence = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../LICENSE");
    let input = ["--text", licence.to_str().unwrap(), "--tokens", "128"];
    // Nine heads and three K/V heads for two devices: groups are cut apart.
    let rows = rows(2, "sp-f32,tp", "smollm2-135m-instruct", &input);
    for method in ["sp-f32", "tp"] {
        let row = row(&rows, method);
        let agreement = &row["agreement"];
        assert_eq!(agreement["top1"], 1.0, "{method}: {agreement}");
        assert!(
            agreement["logits_cosine"].as_f64().unwrap() > 0.999_999,
            "{method}: {agreement}"
        );
        assert_eq!((&row["tokens"], &row["devices"]), (&128.into(), &2.into()));
    }
}
