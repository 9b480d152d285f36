//! Taking a lab down, however it ends.
//!
//! A child process waits for the end of its standard input, which only the lab's process holds open, and then removes everything. So
//! it makes no difference whether the lab is dropped, fails or is killed.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::quota::{self, Hierarchy};
use super::wiring::PREFIX;

/// Where `ip netns` keeps the names of namespaces.
const NAMESPACES: &str = "/run/netns";
/// Longest time that killed processes may take to exit: a system call is finished first.
const LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// Waits for the end of standard input, then removes everything of the lab.
pub(crate) fn clean_up_after_parent() -> Result<()> {
    // An error ends the lab as well.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    remove_all()
}

/// Kills the processes of all labs and removes their namespaces and control groups, if there are any.
pub(crate) fn remove_all() -> Result<()> {
    let namespaces = namespaces();
    let groups = Hierarchy::find().map_or_else(|_| Vec::new(), |found| found.leftovers());
    let start = Instant::now();
    loop {
        let alive = kill(&namespaces, &groups);
        if alive == 0 {
            break;
        }
        if start.elapsed() > LIMIT {
            bail!("{alive} processes of the lab do not exit");
        }
        thread::sleep(POLL);
    }
    let mut left = Vec::new();
    for name in &namespaces {
        let mut command = Command::new("ip");
        command
            .args(["netns", "delete", name])
            .stderr(Stdio::null());
        let gone = || !Path::new(NAMESPACES).join(name).exists();
        if !command.status().is_ok_and(|status| status.success()) && !gone() {
            left.push(name.clone());
        }
    }
    for group in &groups {
        if let Err(error) = quota::remove(group) {
            left.push(format!("{} ({error})", group.display()));
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    bail!("cannot remove {}", left.join(", "))
}

fn namespaces() -> Vec<String> {
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(PREFIX))
        .collect()
}

/// Kills the processes that still run; returns their number.
fn kill(namespaces: &[String], groups: &[impl AsRef<Path>]) -> usize {
    let mut pids: Vec<i32> = groups
        .iter()
        .flat_map(|group| quota::processes(group.as_ref()))
        .collect();
    for name in namespaces {
        let output = Command::new("ip").args(["netns", "pids", name]).output();
        let text = output.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        );
        pids.extend(
            text.lines()
                .filter_map(|line| line.trim().parse::<i32>().ok()),
        );
    }
    pids.sort_unstable();
    pids.dedup();
    let pids = pids.into_iter().filter_map(Pid::from_raw);
    let alive = pids.filter(|pid| {
        let _ = kill_process(*pid, Signal::KILL);
        test_kill_process(*pid).is_ok()
    });
    alive.count()
}
