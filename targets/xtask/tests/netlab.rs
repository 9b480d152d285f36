//! A lab is put up, used and taken down, however it ends. Only root may make one: for other users the test is skipped.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

fn lab(devices: &str, command: &[&str]) -> Command {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_xtask"));
    lab.args([
        "netlab",
        "--devices",
        devices,
        "--cpu",
        "0.5",
        "--mbps",
        "20",
    ])
    .args(["--loss", "0.01", "--"])
    .args(command)
    .stdin(Stdio::null());
    lab
}

/// Why no lab can be put up here.
fn reason_to_skip() -> Option<String> {
    let works = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !works("unshare", &["--net", "--mount", "true"]) {
        return Some("this user may not make network namespaces".to_owned());
    }
    let tools = ["ip", "tc", "nft", "ping"];
    let missing = tools
        .iter()
        .find(|tool| !works(tool, &["-V"]) && !works(tool, &["-v"]));
    if let Some(missing) = missing {
        return Some(format!("{missing} is not installed"));
    }
    if !works(
        "sh",
        &[
            "-c",
            "test -w /sys/fs/cgroup/cpu || test -w /sys/fs/cgroup/cgroup.procs",
        ],
    ) {
        return Some("control groups cannot be written".to_owned());
    }
    None
}

/// Namespaces and control groups of a lab on this machine.
fn found() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["/run/netns", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path().display().to_string());
        found.extend(paths.filter(|path| path.contains("astra-lab-")));
    }
    found
}

fn processes_of(marker: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(marker))
        .count()
}

fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(
            start.elapsed() < LIMIT,
            "{what} did not happen: {:?}",
            found()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One test, since there is one lab at a time.
#[test]
fn a_lab_is_put_up_used_and_taken_down() {
    if let Some(reason) = reason_to_skip() {
        return astra_skips::skip(reason);
    }
    devices_reach_each_other_at_the_rate_of_the_link();
    a_command_that_fails_takes_the_lab_with_it();
    nothing_is_left_where_the_lab_is_killed();
    what_is_left_anyway_is_found_by_the_next();
}

/// Found before anything is fetched, built or measured, so neither root nor a lab is needed.
#[test]
fn a_second_build_without_its_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut netlab = Command::new(env!("CARGO_BIN_EXE_xtask"));
    netlab.args(["netlab", "--bench", "vit-224", "--other"]);
    let ended = netlab.arg(folder.path()).output().unwrap();
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.contains("found no program astra-edge"), "{error}");
}

fn devices_reach_each_other_at_the_rate_of_the_link() {
    let script =
        "ping -q -c 3 -i 0.01 -W 5 10.77.0.2 && tc qdisc show dev eth0 && ls /sys/class/net";
    let output = lab("2", &["sh", "-c", script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("rate 20Mbit burst 3000b"), "{text}");
    let interfaces: Vec<&str> = text.lines().rev().take(2).collect();
    assert_eq!(interfaces, ["lo", "eth0"]);
    assert_eq!(found(), Vec::<String>::new());
}

fn a_command_that_fails_takes_the_lab_with_it() {
    let status = lab("1", &["sh", "-c", "exit 7"]).status().unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(found(), Vec::<String>::new());
}

fn nothing_is_left_where_the_lab_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready").display().to_string();
    // Sessions of their own do not keep processes alive either.
    let script = format!("setsid sleep 86399 & : > '{ready}'; sleep 86398");
    let mut running = lab("2", &["sh", "-c", &script]).spawn().unwrap();
    wait_until("the lab", || Path::new(&ready).exists());
    assert!(found().len() >= 3);
    assert!(processes_of("sleep 86399") > 0);
    running.kill().unwrap();
    running.wait().unwrap();
    wait_until("the end of the lab", || found().is_empty());
    assert_eq!(
        (processes_of("sleep 86399"), processes_of("sleep 86398")),
        (0, 0)
    );
}

fn what_is_left_anyway_is_found_by_the_next() {
    let made = Command::new("ip")
        .args(["netns", "add", "astra-lab-9"])
        .status();
    assert!(made.unwrap().success());
    let status = lab("1", &["test", "!", "-e", "/run/netns/astra-lab-9"]).status();
    assert!(status.unwrap().success());
    assert_eq!(found(), Vec::<String>::new());
}
