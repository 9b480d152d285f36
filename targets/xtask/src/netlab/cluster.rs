//! The devices of one build while the lab runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::devices::Devices;

use super::builds::Build;
use super::wiring;

pub(super) struct Cluster<'a> {
    pub(super) build: &'a Build,
    pub(super) devices: Devices,
    pub(super) processes: Vec<u32>,
    /// Folders with the kernel's interface counters, one a device.
    pub(super) counters: Vec<PathBuf>,
}

impl<'a> Cluster<'a> {
    /// A cluster without devices; their logs go to the folder `logs`.
    pub(super) fn new(build: &'a Build, logs: &Path) -> Self {
        Self {
            build,
            devices: Devices::new(logs),
            processes: Vec::new(),
            counters: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let process = self.devices.start(self.build.file(name), command)?;
        self.processes.push(process);
        self.counters.push(counters_of(process));
        Ok(())
    }
}

/// What the kernel counts on the interface of a process's network, as the process sees it.
fn counters_of(pid: u32) -> PathBuf {
    let interface = wiring::INTERFACE;
    PathBuf::from(format!(
        "/proc/{pid}/root/sys/class/net/{interface}/statistics"
    ))
}
