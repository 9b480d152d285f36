//! Interruptions at a fine beat, so that a quota is dealt out as evenly as a slower processor would run.
//!
//! The kernel looks at what a group has used where its process is switched away from, or else at its own tick: every 4 ms on
//! many kernels, which is longer than what a quota grants at once. A process then runs beyond its quota and pays it back by
//! standing still for several periods. Devices that wait for each other in every block wait for whoever stands still, which
//! devices with processors of their own never do. So on every core a thread of a higher class wakes up often and does nothing.

use std::process::{self, Child, Command, Stdio};
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
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "chrt", "--fifo", "50"])
            // This program, even if it has been built anew meanwhile.
            .arg(format!("/proc/{}/exe", process::id()))
            .arg(METRONOME)
            .stdin(Stdio::null());
        let child = command
            .spawn()
            .context("cannot start the lab's metronome")?;
        Ok(Self(child))
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Beats on every core this process may use, for ever.
pub(crate) fn beat() -> Result<()> {
    let allowed = sched_getaffinity(None).context("which cores there are")?;
    let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let threads: Vec<_> = cores
        .map(|core| thread::spawn(move || beat_on(core)))
        .collect();
    for thread in threads {
        match thread.join() {
            Ok(ended) => ended?,
            Err(_) => bail!("a thread of the metronome ended"),
        }
    }
    Ok(())
}

fn beat_on(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("core {core}"))?;
    loop {
        thread::sleep(BEAT);
    }
}
