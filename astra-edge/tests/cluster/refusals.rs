//! Devices that cannot start, and requests that no device receives: an error with what was found, and exit status 1.

use std::net::TcpListener;
use std::process::Command;

use crate::device::{Cluster, CommandOutput, astra_edge, bundle_dir, photo, run};

fn fails(command: &mut Command, parts: &[&str]) -> CommandOutput {
    let output = run(command);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.starts_with("error: "), "{output:?}");
    assert_eq!(output.stdout, "", "{output:?}");
    for part in parts {
        assert!(output.stderr.contains(part), "{part:?} not in {output:?}");
    }
    output
}

/// A device without discovery.
fn device(flags: &[&str]) -> Command {
    let mut command = astra_edge();
    command.args(["run", "--no-multicast"]).args(flags);
    if !flags.contains(&"--log") {
        command.args(["--log", "error"]);
    }
    if !flags.contains(&"--bundle") {
        command.arg("--bundle").arg(bundle_dir());
    }
    command
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fails(
        &mut device(&["--listen", &address]),
        &[&address, "--listen"],
    );
}

#[test]
fn a_taken_or_wrong_address_of_http_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fails(&mut device(&["--http", &address]), &[&address, "--http"]);
    fails(
        &mut device(&["--http", "kitchen"]),
        &["kitchen", "127.0.0.1:8080"],
    );
}

#[test]
fn a_missing_or_wrong_bundle_is_named() {
    fails(
        &mut device(&["--bundle", "/no/such/bundle"]),
        &["/no/such/bundle"],
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fails(&mut device(&["--bundle", path]), &["manifest.json"]);
    std::fs::write(folder.path().join("manifest.json"), r#"{"format": 99}"#).unwrap();
    fails(
        &mut device(&["--bundle", path]),
        &["format: found 99, expected 3"],
    );
}

#[test]
fn a_missing_onnx_runtime_is_named() {
    fails(
        &mut device(&["--onnxruntime", "/no/libonnxruntime.so"]),
        &["/no/libonnxruntime.so"],
    );
}

#[test]
fn wrong_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("device.toml");
    std::fs::write(&file, "cluster = \"lab\"\nbundel = \"b\"\n").unwrap();
    let path = file.to_str().unwrap();
    fails(
        &mut device(&["--config", path]),
        &[path, "bundel", "`bundle`"],
    );
    fails(&mut device(&["--cluster", "a/b"]), &["a/b"]);
    fails(
        &mut device(&["--multicast-interface", "no-such"]),
        &["no-such", "lo"],
    );
    fails(
        &mut device(&["--log", "what=ever=this"]),
        &["what=ever=this"],
    );
}

#[test]
fn a_cluster_without_devices_is_an_error() {
    let cluster = Cluster::new();
    let output = fails(
        cluster
            .client("infer")
            .arg(photo())
            .args(["--wait", "300ms"]),
        &[&cluster.name, "--connect"],
    );
    assert!(output.stderr.contains("no device"), "{output:?}");
    let peers = run(&mut cluster.client("peers"));
    assert!(peers.status.success(), "{peers:?}");
    assert!(peers.stdout.contains("\"devices\":[]"), "{peers:?}");
}

#[test]
fn a_missing_picture_is_named() {
    let cluster = Cluster::new();
    fails(
        cluster.client("infer").arg("/no/such/picture.png"),
        &["/no/such/picture.png"],
    );
    let empty = cluster.folder.path().join("empty.png");
    std::fs::write(&empty, "").unwrap();
    fails(cluster.client("infer").arg(&empty), &["empty.png", "empty"]);
}
