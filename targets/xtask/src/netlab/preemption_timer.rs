//! Frequent preemption on every core, so that a device with a CPU quota runs as evenly as a slower processor would.
//!
//! The kernel accounts a group's use where its process is switched away from, or else at the scheduler's tick: every 4 ms on many
//! kernels, which is longer than a quota. A process then exceeds its quota, and is suspended for several periods to make up for it.
//! Devices that wait for each other in every block wait for the suspended one, which devices with processors of their own never do.
//! So on every core a thread of a real-time class wakes up often and does nothing.

use std::io::Read;
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The hidden command of the timer's process.
pub(crate) const PREEMPTION_TIMER: &str = "netlab-preemption-timer";
/// An eighth of a quota's period. On two cores it takes 1 to 2 % of one core.
const INTERVAL: Duration = Duration::from_micros(500);

/// The timer's process; dropping this ends it.
#[derive(Debug)]
pub(crate) struct PreemptionTimer(Child);

impl PreemptionTimer {
    /// Returns once the timer runs on every core.
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "chrt", "--fifo", "50"])
            // This program, even if its file has been replaced.
            .arg(format!("/proc/{}/exe", process::id()))
            .arg(PREEMPTION_TIMER)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .context("cannot start the preemption timer")?;
        let stdout = child.stdout.take();
        let timer = Self(child);
        let mut sign = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(1).read_to_end(&mut sign)?;
        }
        if sign.is_empty() {
            // It has printed why.
            bail!(
                "the preemption timer does not run: without it CPU quotas are not enforced evenly"
            );
        }
        Ok(timer)
    }
}

impl Drop for PreemptionTimer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the timer on every core that this process may use, and never returns then; an empty line on standard output says that it runs.
pub(crate) fn run() -> Result<()> {
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
                thread::sleep(INTERVAL);
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
