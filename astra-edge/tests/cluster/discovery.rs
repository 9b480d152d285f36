//! Devices that find each other, and devices that are there and not used.

use std::fs;
use std::path::{Path, PathBuf};

use crate::device::{Cluster, bundle_dir, run};

#[test]
fn devices_find_each_other_by_multicast() {
    let mut cluster = Cluster::new();
    for name in ["a", "b", "c"] {
        let mut command = cluster.device_command(name);
        command.args(["--multicast-interface", "127.0.0.1"]);
        cluster.spawn(name, command);
    }
    cluster.wait_for_usable(3);
    // A client finds them too.
    let mut peers = crate::device::astra_edge();
    peers.args([
        "peers",
        "--json",
        "--multicast-interface",
        "127.0.0.1",
        "--cluster",
        &cluster.name,
    ]);
    cluster.until("a client finds them", || {
        run(&mut peers).stdout.matches("\"usable\":true").count() == 3
    });
    assert_eq!(cluster.report(&[]).members.len(), 3);
}

#[test]
fn devices_of_another_key_or_bundle_are_listed_and_not_used() {
    let mut cluster = Cluster::new();
    let other = other_bundle(cluster.folder.path());
    cluster.start("a", &[]);
    cluster.start("b", &[]);
    cluster.start("c", &["--key", "another"]);
    cluster.start("d", &["--bundle", other.to_str().unwrap()]);
    cluster.until("a judges all others", || {
        let log = cluster.devices[0].log();
        ["other cluster key", "other bundle", "device joined"]
            .iter()
            .all(|part| log.contains(part))
    });

    let peers = cluster.peers();
    let reasons: Vec<&str> = peers
        .iter()
        .map(|p| p["reason"].as_str().unwrap_or(""))
        .collect();
    assert_eq!(&reasons[..3], ["", "", "other cluster key"]);
    assert!(reasons[3].starts_with("other bundle: "), "{reasons:?}");
    for peer in &peers {
        assert_eq!(peer["addresses"].as_array().unwrap().len(), 1);
        assert!(peer["speed_ms"].as_f64().unwrap() > 0.0);
        assert!(
            peer["software"]
                .as_str()
                .unwrap()
                .starts_with("astra-edge ")
        );
        assert!(peer["runtime"].as_str().unwrap().contains("onnxruntime"));
    }

    let report = cluster.report(&["--device", "a"]);
    let names: Vec<&str> = report.members.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let output = run(&mut cluster.infer(&["--device", "c", "--wait", "1s"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("c (other cluster key)"),
        "{output:?}"
    );
    // The one with the other bundle works, by itself.
    let report = cluster.report(&["--device", "d"]);
    assert!(report.alone.is_some(), "{report}");
}

/// The same bundle under another name, which makes it another bundle.
fn other_bundle(folder: &Path) -> PathBuf {
    let other = folder.join("other-bundle");
    fs::create_dir(&other).unwrap();
    for entry in fs::read_dir(bundle_dir()).unwrap() {
        let from = entry.unwrap().path();
        let to = other.join(from.file_name().unwrap());
        if from.ends_with("manifest.json") {
            let text = fs::read_to_string(&from).unwrap();
            let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
            manifest["model"] = "another name".into();
            fs::write(&to, manifest.to_string()).unwrap();
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).unwrap();
        }
    }
    other
}
