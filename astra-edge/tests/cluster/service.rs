//! A device as a service: its notifications to the service manager, its execution provider and cache folder, and its health check.

use std::process::Command;

use astra_skips::skip;

use crate::device::{Cluster, astra_edge, run};
use crate::manager::Manager;
use crate::namespace::Namespace;

/// An interface that is no loopback, with an address.
fn give_network(nowhere: &Namespace) {
    nowhere.ip("link add eth0 type veth peer name other");
    nowhere.ip("link set other up");
    nowhere.ip("address add 10.9.8.7/24 dev eth0");
    nowhere.ip("link set eth0 up");
}

#[test]
fn a_service_that_starts_before_its_network_waits_for_it() {
    let mut cluster = Cluster::new();
    let Some(nowhere) = Namespace::new(&cluster.name) else {
        return;
    };
    let mut command = nowhere.command(&cluster.device_command("a"));
    let manager = Manager::of(&cluster, &mut command);
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let first = manager.receive();
            give_network(&nowhere);
            first
        });
        cluster.spawn("a", command);
        first.join().unwrap()
    });
    assert!(first.starts_with("STATUS=waits for a network"), "{first}");
    assert!(first.contains("\nEXTEND_TIMEOUT_USEC="), "{first}");
    let address = &cluster.devices[0].address;
    assert!(address.starts_with("10.9.8.7:"), "{address}");
    assert!(cluster.logs().contains("waits for a network"));
}

#[test]
fn a_service_with_a_configured_address_needs_no_other_network() {
    let mut cluster = Cluster::new();
    let Some(nowhere) = Namespace::new(&cluster.name) else {
        return;
    };
    nowhere.ip("link set lo up");
    nowhere.ip("address add 10.9.8.7/24 dev lo");
    let mut command = cluster.device_command("a");
    command.args(["--listen", "10.9.8.7"]);
    let mut command = nowhere.command(&command);
    let manager = Manager::of(&cluster, &mut command);
    cluster.spawn("a", command);
    let first = manager.receive();
    assert!(first.starts_with("READY=1\n"), "{first}");
}

#[test]
fn a_service_manager_is_notified_of_readiness_liveness_and_stopping() {
    let mut cluster = Cluster::new();
    let mut command = cluster.device_command("a");
    command
        .args(["--listen", "127.0.0.1", "--no-multicast"])
        .env("WATCHDOG_USEC", "600000");
    let manager = Manager::of(&cluster, &mut command);
    cluster.spawn("a", command);
    let ready = manager.receive();
    assert!(ready.starts_with("READY=1\nSTATUS=a ("), "{ready}");
    for _ in 0..3 {
        assert_eq!(manager.receive(), "WATCHDOG=1\n");
    }
    let device = cluster.device("a");
    device.signal("TERM");
    assert!(device.wait().success());
    let end =
        std::iter::repeat_with(|| manager.receive()).find(|message| message != "WATCHDOG=1\n");
    assert_eq!(end.as_deref(), Some("STOPPING=1\n"));
}

#[test]
fn the_status_for_a_service_manager_counts_the_usable_devices() {
    let mut cluster = Cluster::new();
    let mut command = cluster.device_command("a");
    command.args(["--listen", "127.0.0.1", "--no-multicast"]);
    let manager = Manager::of(&cluster, &mut command);
    cluster.spawn("a", command);
    let ready = manager.receive();
    assert!(ready.ends_with("; others it can use: 0\n"), "{ready}");
    cluster.start("b", &[]);
    let together = manager.receive();
    assert!(together.starts_with("STATUS=a ("), "{together}");
    assert!(together.ends_with("; others it can use: 1\n"), "{together}");
    drop(cluster.devices.pop());
    let alone = manager.receive();
    assert!(alone.ends_with("; others it can use: 0\n"), "{alone}");
}

#[test]
fn without_a_service_manager_a_device_logs_nothing_of_one() {
    let cluster = Cluster::of(&["a"]);
    assert!(!cluster.logs().contains("service manager"));
}

#[test]
fn the_first_execution_provider_that_works_is_used_and_shown() {
    let mut cluster = Cluster::new();
    cluster.start("a", &["--execution-providers", "tensorrt,cuda,cpu"]);
    let runtime = cluster.peers()[0]["runtime"].clone();
    let runtime = runtime.as_str().unwrap();
    assert!(runtime.ends_with(" cpu"), "{runtime}");
    // Why the others are not is in the log.
    let logs = cluster.logs();
    assert!(logs.contains("tensorrt") && logs.contains("cuda"), "{logs}");

    let mut command = cluster.device_command("b");
    command.args(["--execution-providers", "cuda"]);
    let output = run(command.arg("--bundle").arg(crate::device::bundle_dir()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for part in [
        "none of the requested execution providers",
        "cuda (",
        "add cpu",
    ] {
        assert!(output.stderr.contains(part), "{part:?} not in {output:?}");
    }
}

#[test]
fn a_service_maps_packed_weights_from_its_cache_folder() {
    let mut cluster = Cluster::new();
    let cache = cluster.folder.path().join("cache");
    for name in ["a", "b"] {
        let mut command = cluster.device_command(name);
        command
            .args(["--listen", "127.0.0.1", "--no-multicast"])
            .env("CACHE_DIRECTORY", &cache);
        if let Some(first) = cluster.devices.first() {
            command.args(["--connect", &first.address]);
        }
        cluster.spawn(name, command);
    }
    cluster.wait_for_usable(2);
    let report = cluster.report(&["--rung", "exact"]);
    assert_eq!(report.members.len(), 2);
    let sets: Vec<_> = std::fs::read_dir(cache.join("packed")).unwrap().collect();
    let [Ok(set)] = sets.as_slice() else {
        panic!("{sets:?}");
    };
    for graph in ["embed", "local_00", "attend_11", "whole"] {
        assert!(set.path().join(graph).join("weights.bin").exists());
    }
    // Neither a warning of ours nor one of ONNX Runtime's.
    let logs = cluster.logs();
    assert!(
        !logs.contains("WARN") && !logs.contains("packing weights again"),
        "{logs}"
    );
}

#[test]
fn a_service_whose_cache_folder_cannot_be_made_runs_without_it() {
    let mut cluster = Cluster::new();
    // No user can make a folder in a file, where root can in any folder.
    let file = cluster.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = cluster.device_command("a");
    command
        .args(["--listen", "127.0.0.1", "--no-multicast"])
        .env("CACHE_DIRECTORY", file.join("astra-edge"))
        // Nor does it need any other place of its user's, or to write anywhere else.
        .env_remove("HOME")
        .env("TMPDIR", &file);
    let manager = Manager::of(&cluster, &mut command);
    cluster.spawn("a", command);
    let ready = manager.receive();
    assert!(ready.contains("; no weights cache; "), "{ready}");
    let logs = cluster.logs();
    assert_eq!(logs.matches("no weights cache").count(), 1, "{logs}");
    assert!(logs.contains(file.to_str().unwrap()), "{logs}");
    assert_eq!(cluster.report(&[]).members.len(), 1);
}

#[test]
fn a_device_on_a_read_only_file_system_runs_without_a_cache() {
    let mut cluster = Cluster::new();
    let mut command = cluster.device_command("a");
    command
        .args(["--listen", "127.0.0.1", "--no-multicast"])
        .arg("--weights-cache")
        .arg(cluster.folder.path().join("cache"));
    let Some(command) = read_only(&command) else {
        return;
    };
    cluster.spawn("a", command);
    let logs = cluster.logs();
    assert!(logs.contains("no weights cache"), "{logs}");
    assert!(logs.contains("Read-only file system"), "{logs}");
    assert_eq!(cluster.report(&[]).members.len(), 1);
}

/// The command, for which every file system is read-only; `None` where this user may not make it so: then the test is skipped.
#[track_caller]
fn read_only(command: &Command) -> Option<Command> {
    const SCRIPT: &str = r#"mount --make-rprivate / &&
        for place in $(cut -d ' ' -f 5 /proc/self/mountinfo); do mount -o remount,bind,ro "$place" 2>/dev/null; done
        mount -o remount,bind,ro / && exec "$@""#;
    let mut there = Command::new("unshare");
    there.args(["--mount", "sh", "-c", SCRIPT, "sh"]);
    let may = Command::new("unshare").args(["--mount", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        skip("only root may make file systems read-only");
        return None;
    }
    there.arg(command.get_program()).args(command.get_args());
    Some(there)
}

#[test]
fn a_device_is_healthy_when_its_own_machine_sees_it() {
    let mut cluster = Cluster::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let settings = |name: &str| {
        let file = cluster.folder.path().join(format!("{name}.toml"));
        let text = format!(
            "name = {name:?}\ncluster = {:?}\nlisten = [{address:?}]\nmulticast = false\nthreads = 1\n",
            cluster.name
        );
        std::fs::write(&file, text).unwrap();
        file
    };
    let (there, gone) = (settings("there"), settings("gone"));
    let mut command = astra_edge();
    command.args(["run", "--json", "--config"]).arg(&there);
    cluster.spawn("there", command);

    let health = |file: &std::path::Path, wait: &str| {
        let mut peers = astra_edge();
        peers.args(["peers", "--healthy", "--wait", wait, "--config"]);
        run(peers.arg(file))
    };
    let output = health(&there, "60s");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.contains("there"), "{output:?}");
    let output = health(&gone, "1s");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("\"gone\""), "{output:?}");
}
