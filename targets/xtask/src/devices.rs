//! Device processes of one demo, each with a log; none outlives the guard.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::child::Running;

/// Lines of a log that an error shows.
const TAIL: usize = 15;

/// The devices that were started; dropping this ends them.
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
    /// No devices yet; their logs will be in the folder `logs`.
    pub(crate) fn new(logs: &Path) -> Self {
        Self {
            logs: logs.to_owned(),
            running: Vec::new(),
        }
    }

    /// Starts one more, its standard output and error going to `NAME.log`; the number of its process.
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

    /// Ends one.
    pub(crate) fn stop(&mut self, name: &str) {
        self.running.retain(|device| device.name != name);
    }

    /// `Err` with the end of its log if a device is not running any more.
    pub(crate) fn check(&mut self) -> Result<()> {
        for device in &mut self.running {
            if let Some(status) = device.process.ended()? {
                bail!(
                    "{} ended by itself ({status}); its log ends:\n{}",
                    device.name,
                    device.tail()
                );
            }
        }
        Ok(())
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
        // All are asked before any is waited for, so that they say goodbye side by side.
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
    use std::time::Duration;

    use crate::stop::Stop;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_device_that_ends_is_named_with_the_end_of_its_log() {
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
            "device-2 ended by itself (exit status: 4); its log ends:\n  port taken"
        );
        assert_eq!(
            devices.tails(),
            "device-1:\n  (empty)\ndevice-2:\n  port taken"
        );
    }

    #[test]
    fn devices_get_the_chance_to_say_goodbye() {
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
    fn a_long_log_is_cut_to_its_end() {
        let log: String = (1..=100).map(|line| format!("line {line}\n")).collect();
        let tail = last_lines(&log);
        assert_eq!(tail.lines().count(), TAIL);
        assert!(tail.starts_with("  line 86\n") && tail.ends_with("  line 100"));
    }
}
