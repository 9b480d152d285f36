//! Device processes, each with a log file; dropping [`Devices`] ends them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Running;
use crate::progress;
use crate::stop::Stop;

/// Lines of a log that an error shows.
const TAIL: usize = 15;
/// Pause between two looks at a cluster.
const POLL: Duration = Duration::from_millis(100);

/// Devices that were started; dropping this ends them.
#[derive(Debug)]
pub(crate) struct Devices {
    logs: PathBuf,
    running: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    name: String,
    log: PathBuf,
    process: Running,
}

impl Devices {
    /// No devices yet; their logs go to the folder `logs`.
    pub(crate) fn new(logs: &Path) -> Self {
        Self {
            logs: logs.to_owned(),
            running: Vec::new(),
        }
    }

    /// Starts a device whose standard output and error go to `NAME.log`; returns its process ID.
    pub(crate) fn start(&mut self, name: String, command: &mut Command) -> Result<u32> {
        let log = self.logs.join(format!("{name}.log"));
        let file =
            File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let process = Running::spawn(command)?;
        let pid = process.id();
        self.running.push(Device { name, log, process });
        Ok(pid)
    }

    /// Ends the device of that name.
    pub(crate) fn stop(&mut self, name: &str) {
        self.running.retain(|device| device.name != name);
    }

    /// An error with the end of its log if a device has exited.
    pub(crate) fn check(&mut self) -> Result<()> {
        for device in &mut self.running {
            if let Some(status) = device.process.ended()? {
                bail!(
                    "{} exited ({status}); its log ends:\n{}",
                    device.name,
                    device.tail()
                );
            }
        }
        Ok(())
    }

    /// Waits until `usable` counts as many devices as were started.
    ///
    /// # Errors
    /// A device exits, or there are fewer after `limit`: then with the ends of all logs.
    pub(crate) fn wait_until_usable(
        &mut self,
        limit: Duration,
        stop: &Stop,
        mut usable: impl FnMut() -> Result<usize>,
    ) -> Result<()> {
        let wanted = self.running.len();
        let spinner = progress::spinner("waiting for the devices to find each other");
        let start = Instant::now();
        loop {
            stop.check()?;
            self.check()?;
            // Until the first device listens, the question itself fails.
            let found = usable();
            stop.check()?;
            let found = match found {
                Ok(found) if found >= wanted => {
                    spinner.finish_and_clear();
                    return Ok(());
                }
                Ok(found) => format!("{found} usable"),
                Err(error) => format!("{error:#}"),
            };
            if start.elapsed() > limit {
                bail!(
                    "cluster after {} s: found {found}, expected {wanted} devices; their logs end:\n{}",
                    limit.as_secs(),
                    self.tails()
                );
            }
            thread::sleep(POLL);
        }
    }

    /// The ends of all logs, for an error.
    pub(crate) fn tails(&self) -> String {
        let tail = |device: &Device| format!("{}:\n{}", device.name, device.tail());
        self.running.iter().map(tail).collect::<Vec<_>>().join("\n")
    }
}

impl Device {
    fn tail(&self) -> String {
        match fs::read(&self.log) {
            Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes)),
            Err(error) => format!("  (cannot read {}: {error})", self.log.display()),
        }
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        // All are signalled before any is waited for, so that they shut down in parallel.
        for device in &mut self.running {
            device.process.terminate();
        }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(TAIL)..)
        .unwrap_or_default();
    if tail.is_empty() {
        return "  (empty)".to_owned();
    }
    tail.iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_device_that_exits_is_named_with_the_end_of_its_log() {
        let logs = tempfile::tempdir().unwrap();
        let mut devices = Devices::new(logs.path());
        devices
            .start("device-1".to_owned(), &mut shell("exec sleep 600"))
            .unwrap();
        devices
            .start(
                "device-2".to_owned(),
                &mut shell("echo port taken >&2; exit 4"),
            )
            .unwrap();
        devices.running[1]
            .process
            .wait(&Stop::default(), Some(Duration::from_secs(60)), || ())
            .unwrap();
        let error = devices.check().unwrap_err().to_string();
        assert_eq!(
            error,
            "device-2 exited (exit status: 4); its log ends:\n  port taken"
        );
        assert_eq!(
            devices.tails(),
            "device-1:\n  (empty)\ndevice-2:\n  port taken"
        );
    }

    #[test]
    fn devices_get_the_chance_to_shut_down() {
        let logs = tempfile::tempdir().unwrap();
        let ready = logs.path().join("ready");
        let script = format!(
            "trap 'echo goodbye; exit 0' TERM; : > '{}'; while :; do sleep 0.05; done",
            ready.display()
        );
        let mut devices = Devices::new(logs.path());
        devices
            .start("device-1".to_owned(), &mut shell(&script))
            .unwrap();
        while !ready.exists() {
            devices.check().unwrap();
            std::thread::yield_now();
        }
        drop(devices);
        let log = fs::read_to_string(logs.path().join("device-1.log")).unwrap();
        assert_eq!(log, "goodbye\n");
    }

    #[test]
    fn a_cluster_that_stays_too_small_is_an_error_with_the_logs() {
        let logs = tempfile::tempdir().unwrap();
        let mut devices = Devices::new(logs.path());
        for name in ["device-1", "device-2"] {
            let mut sleep = shell("exec sleep 600");
            devices.start(name.to_owned(), &mut sleep).unwrap();
        }
        let stop = Stop::default();
        let mut counts = [1, 2].into_iter();
        devices
            .wait_until_usable(Duration::MAX, &stop, || Ok(counts.next().unwrap()))
            .unwrap();
        let error = devices
            .wait_until_usable(Duration::ZERO, &stop, || Ok(1))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cluster after 0 s: found 1 usable, expected 2 devices; "),
            "{error}"
        );
        assert!(error.contains("device-2:\n  (empty)"), "{error}");
    }

    #[test]
    fn a_long_log_is_cut_to_its_end() {
        let log: String = (1..=100).map(|line| format!("line {line}\n")).collect();
        let tail = last_lines(&log);
        assert_eq!(tail.lines().count(), TAIL);
        assert!(tail.starts_with("  line 86\n") && tail.ends_with("  line 100"));
    }
}
