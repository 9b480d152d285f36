//! Devices that are told to end: at once while they load, and after their requests while they answer.

use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::device::{Cluster, astra_edge, language_dir, run};
use crate::generation::{ids, stream};
use crate::web::post;

#[test]
fn a_device_that_is_told_to_end_while_it_loads_ends_at_once() {
    let cluster = Cluster::new();
    let bundle = cluster.folder.path().join("bundle");
    std::fs::create_dir(&bundle).unwrap();
    // Whoever reads it waits for a writer, and none comes: loading has no end of its own.
    let manifest = bundle.join("manifest.json");
    assert!(run(Command::new("mkfifo").arg(&manifest)).status.success());
    let mut device = astra_edge();
    device
        .args(["run", "--no-multicast", "--listen", "127.0.0.1", "--bundle"])
        .arg(&bundle)
        .stdout(Stdio::piped());
    let mut device = device.spawn().unwrap();
    let waits = format!("/proc/{}/task", device.id());
    cluster.until("it reads the manifest", || {
        let tasks = std::fs::read_dir(&waits).unwrap().flatten();
        let channel = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("wchan"));
        tasks
            .map(channel)
            .any(|channel| channel.is_ok_and(|channel| channel.contains("wait_for_partner")))
    });
    let told = run(Command::new("kill").arg(device.id().to_string()));
    assert!(told.status.success());
    cluster.until("it has ended", || device.try_wait().unwrap().is_some());
    assert!(device.wait().unwrap().success());
}

#[test]
fn a_device_that_is_told_to_end_answers_first_and_takes_nothing_new() {
    let mut cluster = Cluster::with_bundle(&language_dir(), &["a"]);
    let mut running = stream(&cluster, &ids(20, 1), 32, &json!({}));
    cluster.device("a").signal("TERM");
    let body = json!({ "prompt": "x", "max_tokens": 1 });
    cluster.until("it refuses new requests", || {
        let response = post(cluster.http(), "/v1/completions", &body);
        response.status == 503 && response.refused(503, "overloaded").contains("stops")
    });
    let mut rest = String::new();
    running.read_to_string(&mut rest).unwrap();
    assert!(rest.trim_end().ends_with("data: [DONE]"), "{rest}");
    assert!(cluster.device("a").wait().success(), "{}", cluster.logs());
}
