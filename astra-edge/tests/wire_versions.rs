//! Devices of several wire versions in one cluster, each a process of its own.
//!
//! The program under test is of this version. Devices of other versions are this test program, started again by itself, with a device
//! from the library that is set to read other versions: a device reads and writes this version's messages, and what it says of its
//! versions, and what it does about those of others, is what a device of such versions says and does.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for; this one uses a part of the module of devices"
)]

#[path = "cluster/device.rs"]
mod device;

use std::process::{Command, ExitCode};

use astra_edge::config::Config;
use astra_edge::node::Node;
use astra_wire::{VERSION, Versions};
use clap::Parser;
use serde_json::{Value, json};

use crate::device::{Cluster, language_dir, run};

/// Versions of the device that this process is to be.
const VARIABLE: &str = "ASTRA_TEST_WIRE_VERSIONS";

const TESTS: [(&str, fn()); 3] = [
    ("devices_of_two_versions_infer_together", infer_together),
    (
        "devices_of_two_versions_generate_together",
        generate_together,
    ),
    (
        "devices_without_a_common_version_are_listed_and_not_used",
        without_a_common_version,
    ),
];

fn main() -> ExitCode {
    if let Ok(versions) = std::env::var(VARIABLE) {
        be_a_device(Versions::from_text(&versions).expect("a range of versions"));
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let (run, left): (Vec<_>, Vec<_>) = TESTS.iter().partition(|(name, _)| is_wanted(name));
    println!("\nrunning {} tests", run.len());
    let mut failed = 0;
    for (name, test) in &run {
        let ok = std::panic::catch_unwind(test).is_ok();
        failed += usize::from(!ok);
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
    }
    println!(
        "\ntest result: {}. {} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out\n",
        if failed == 0 { "ok" } else { "FAILED" },
        run.len() - failed,
        left.len(),
    );
    ExitCode::from(u8::from(failed > 0))
}

/// The settings of `astra-edge run`.
#[derive(Parser)]
struct Args {
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

fn be_a_device(versions: Versions) {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(&args.config.log)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let settings = args.config.settings().unwrap();
        let node = Node::start_with_versions(settings, versions).await.unwrap();
        let hello = node.hello();
        let addresses: Vec<&str> = hello.addresses.iter().map(|text| text.as_str()).collect();
        let ready = json!({ "id": hello.device.to_string(), "addresses": addresses });
        println!("{ready}");
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        terminate.recv().await;
        node.stop().await;
    });
}

/// Starts a device of other versions, with more flags.
fn start(cluster: &mut Cluster, name: &str, versions: Versions, flags: &[&str]) {
    let program = cluster.device_command(name);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        // Without the subcommand.
        .args(program.get_args().skip(1))
        .args(["--listen", "127.0.0.1", "--no-multicast"])
        .args(flags)
        .env(VARIABLE, versions.to_string());
    if let Some(first) = cluster.devices.first() {
        command.args(["--connect", &first.address]);
    }
    cluster.spawn(name, command);
}

/// The version after this one, with this one.
const NEWER: Versions = Versions {
    min: VERSION,
    max: VERSION + 1,
};

fn infer_together() {
    let mut cluster = Cluster::new();
    cluster.start("ours", &[]);
    start(&mut cluster, "newer", NEWER, &[]);
    cluster.wait_for_usable(2);
    // Each coordinates a request in which the other is a member.
    for coordinator in ["ours", "newer"] {
        let report = cluster.report(&["--device", coordinator]);
        assert_eq!(report.alone, None, "{report}; {}", cluster.logs());
        assert_eq!(report.members.len(), 2, "{report}");
        assert_eq!(report.masked_tokens, 0, "{report}");
        for member in &report.members {
            assert_eq!(member.failure, None, "{report}");
            assert!(member.frames_received > 0, "{report}");
            assert_eq!(member.refused_frames, 0, "{report}");
        }
    }
    // The message that it sends when it leaves is read too: nothing else shows it so soon.
    cluster.device("newer").signal("TERM");
    assert!(cluster.device("newer").wait().success());
    cluster.until("it has left", || {
        cluster.devices[0].log().contains("device left")
    });
}

fn generate_together() {
    let bundle = language_dir();
    let bundle = ["--bundle", bundle.to_str().unwrap()];
    let mut texts = Vec::new();
    for coordinator in ["ours", "newer"] {
        // New devices, of which none has the prompt in its cache and answers alone.
        let mut cluster = Cluster::new();
        cluster.start("ours", &bundle);
        start(&mut cluster, "newer", NEWER, &bundle);
        cluster.wait_for_usable(2);
        let mut command = cluster.client("ask");
        command.args([
            "--device",
            coordinator,
            "--rung",
            "exact",
            "--deadline",
            "60s",
        ]);
        command.args(["--max-tokens", "8", "What is the capital of France?"]);
        let output = run(&mut command);
        assert!(output.status.success(), "{output:?}; {}", cluster.logs());
        let answer: Value = serde_json::from_str(&output.stdout).unwrap();
        let members = answer["report"]["members"].as_array().unwrap();
        assert_eq!(members.len(), 2, "{answer}");
        texts.push(answer["text"].as_str().unwrap().to_owned());
    }
    assert!(texts[0].contains("Paris"), "{texts:?}");
    assert_eq!(texts[0], texts[1]);
}

fn without_a_common_version() {
    let mut cluster = Cluster::new();
    cluster.start("ours", &[]);
    let only = |version| Versions {
        min: version,
        max: version,
    };
    start(&mut cluster, "older", only(VERSION - 1), &[]);
    start(&mut cluster, "newer", only(VERSION + 1), &[]);
    let peer = "wire version of the peer:";
    let (before, after) = (VERSION - 1, VERSION + 1);
    let too_old = &format!(
        "other version: {peer} found {before} at most, expected {VERSION} or newer: update the peer"
    );
    let too_new = &format!(
        "other version: {peer} found {after} at least, expected {VERSION} or older: update this device"
    );
    let older = cluster.device("older").id.clone();
    let newer = cluster.device("newer").id.clone();

    // Each says of the others why it does not use them.
    let expected = [
        ("ours", &older, too_old),
        ("ours", &newer, too_new),
        (
            "older",
            &newer,
            &format!("found {after} at least, expected {before} or older: update this device"),
        ),
        (
            "newer",
            &older,
            &format!("found {before} at most, expected {after} or newer: update the peer"),
        ),
    ];
    for (name, other, why) in expected {
        wait_for_rejection(&cluster, name, other, why);
    }
    // And so does a client, whom they cannot answer either.
    check_client(&cluster, &older, too_old);
    check_client(&cluster, &newer, too_new);
    // The device of this version answers, without them.
    let report = cluster.report(&["--device", "ours"]);
    assert!(report.members.len() < 2, "{report}");
    assert!(report.alone.is_some(), "{report}");
}

/// Waits until the device `name` has logged that it does not use `other`, and why.
fn wait_for_rejection(cluster: &Cluster, name: &str, other: &str, why: &str) {
    let device = cluster.devices.iter().find(|device| device.name == name);
    let device = device.unwrap();
    cluster.until(&format!("{name} judges {other}"), || {
        device.log().lines().any(|line| {
            line.contains("device not used") && line.contains(other) && line.contains(why)
        })
    });
}

/// A client lists the device of that id as not usable, and does not send it a request.
fn check_client(cluster: &Cluster, id: &str, reason: &str) {
    cluster.until(&format!("a client judges {id}"), || {
        cluster
            .peers()
            .iter()
            .any(|peer| peer["id"] == id && peer["usable"] == false && peer["reason"] == reason)
    });
    let output = run(&mut cluster.infer(&["--device", id, "--wait", "1s"]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let named = format!("{id} ({reason})");
    assert!(output.stderr.contains(&named), "{output:?}");
}
