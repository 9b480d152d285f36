//! Interruptions at a fine beat, so that a quota is dealt out as evenly as a slower processor would run.
//!
//! The kernel looks at what a group has used where its process is switched away from, or else at its own tick: every 4 ms on
//! many kernels, which is longer than what a quota grants at once. A process then runs beyond its quota and pays it back by
//! standing still for several periods. Devices that wait for each other in every block wait for whoever stands still, which
//! devices with processors of their own never do. So on every core a thread of a higher class wakes up often and does nothing.

use std::io::Read;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The hidden command of the process that beats.
pub(crate) const METRONOME: &str = "netlab-metronome";
/// An eighth of a quota's period. Wakes of both cores together take 1 to 2 % of one core.
const BEAT: Duration = Duration::from_micros(500);

/// The process that beats, until it is dropped.
#[derive(Debug)]
pub(crate) struct Metronome(Child);

impl Metronome {
    /// Returns when it beats.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "chrt", "--fifo", "50"])
            // This program, even if it has been built anew meanwhile.
            .arg(format!("/proc/{}/exe", process::id()))
            .arg(METRONOME)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .context("cannot start the lab's metronome")?;
        let said = child.stdout.take();
        let metronome = Self(child);
        let mut sign = Vec::new();
        if let Some(said) = said {
            said.take(1).read_to_end(&mut sign)?;
        }
        if sign.is_empty() {
            // It has said why.
            bail!(
                "the lab's metronome does not beat: without it shares of cores are not dealt out evenly"
            );
        }
        Ok(metronome)
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Beats on every core this process may use, for ever; says so on standard output.
pub(crate) fn beat() -> Result<()> {
    let allowed = sched_getaffinity(None).context("which cores there are")?;
    let cores: Vec<_> = (0..CpuSet::MAX_CPU)
        .filter(|core| allowed.is_set(*core))
        .collect();
    let (ready, all) = mpsc::channel();
    for &core in &cores {
        let ready = ready.clone();
        thread::spawn(move || {
            let mut set = CpuSet::new();
            set.set(core);
            let _ = ready.send((core, sched_setaffinity(None, &set)));
            loop {
                thread::sleep(BEAT);
            }
        });
    }
    for (core, placed) in all.iter().take(cores.len()) {
        placed.with_context(|| format!("core {core}"))?;
    }
    println!();
    loop {
        thread::park();
    }
}
