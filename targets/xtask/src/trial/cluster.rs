//! Devices of one cluster on this machine, some of them perhaps emulated, and requests to them.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use astra_report::Peers;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::child;
use crate::devices::Devices;
use crate::emulation::Emulator;
use crate::folder;
use crate::stop::Stop;

/// An emulated device loads and measures its model for a minute or two.
const READY_LIMIT: Duration = Duration::from_secs(900);
/// Of one request; an emulated device computes for many seconds.
const DEADLINE: &str = "300s";
const INFER_LIMIT: Duration = Duration::from_secs(900);
const PEERS_LIMIT: Duration = Duration::from_secs(60);

/// A device program and what it needs to run here.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) emulator: Emulator,
    pub(crate) edge: PathBuf,
    /// The ONNX Runtime library.
    pub(crate) library: PathBuf,
}

impl Program {
    pub(crate) fn command(&self) -> Command {
        let mut command = self.emulator.command(&self.edge);
        command.env(crate::provision::RUNTIME_VARIABLE, &self.library);
        command
    }
}

/// The result of a request, in float32.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) cls: Vec<f32>,
    #[serde(default)]
    pub(crate) map: Vec<f32>,
}

impl Answer {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let answer: Self = parse(&text)?;
        if answer.cls.is_empty() {
            bail!("{}: an answer without a class token", path.display());
        }
        Ok(answer)
    }

    /// Cosine of the angle between the class tokens.
    pub(crate) fn cosine(&self, other: &Self) -> Result<f64> {
        if self.cls.len() != other.cls.len() {
            bail!(
                "class tokens of {} and {} values",
                self.cls.len(),
                other.cls.len()
            );
        }
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
            products.sum()
        };
        let (a, b) = (&self.cls, &other.cls);
        Ok(dot(a, b) / (dot(a, a) * dot(b, b)).sqrt())
    }

    /// Largest absolute difference in class token and map.
    pub(crate) fn worst(&self, other: &Self) -> Result<f32> {
        if (self.cls.len(), self.map.len()) != (other.cls.len(), other.map.len()) {
            bail!(
                "answers of {} and {} values",
                self.cls.len() + self.map.len(),
                other.cls.len() + other.map.len()
            );
        }
        let values = self.cls.iter().chain(&self.map);
        let others = other.cls.iter().chain(&other.map);
        let apart = values.zip(others).map(|(a, b)| (a - b).abs());
        // A difference that is no number is worse than any.
        Ok(apart.fold(0.0, |worst, d| {
            if d.is_nan() {
                f32::INFINITY
            } else {
                worst.max(d)
            }
        }))
    }
}

/// The part of a request's report that matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct RequestReport {
    pub(crate) rung_bits: u16,
    pub(crate) members: Vec<MemberReport>,
    pub(crate) masked_tokens: u32,
    pub(crate) latency_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct MemberReport {
    pub(crate) name: String,
    pub(crate) tokens: u16,
}

/// One cluster; dropping it ends its devices.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    name: String,
    folder: TempDir,
    devices: Devices,
    /// The program that sends requests to it.
    client: &'a Program,
    photo: PathBuf,
    /// Where the first device is reached.
    address: String,
    running: usize,
    stop: &'a Stop,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(client: &'a Program, photo: &Path, stop: &'a Stop) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        Ok(Self {
            // Others may try boards on this machine, too.
            name: format!("trial-{}", std::process::id()),
            devices: Devices::new(folder.path()),
            folder,
            client,
            photo: photo.to_owned(),
            address: format!("127.0.0.1:{}", free_port()?),
            running: 0,
            stop,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts a device, without waiting for it: emulated ones take minutes, and need not take them one after another.
    pub(crate) fn start(&mut self, name: &str, program: &Program, bundle: &Path) -> Result<()> {
        let mut command = program.command();
        command
            .args(["run", "--threads", "1", "--no-multicast", "--all-members"])
            .args(["--name", name, "--cluster", &self.name])
            .arg("--bundle")
            .arg(bundle);
        // Those that are emulated pack their weights into files, and share them: what a board's kernels make of them is tried, too.
        if program.emulator.runner().is_some() {
            command.arg("--weights-cache").arg(self.weights());
        }
        match self.running {
            0 => command.args(["--listen", &self.address]),
            _ => command.args(["--listen", "127.0.0.1"]),
        };
        self.start_by(name, &mut command)
    }

    /// The same by a command that runs a device of this cluster.
    pub(crate) fn start_by(&mut self, name: &str, command: &mut Command) -> Result<()> {
        if self.running > 0 {
            command.args(["--connect", &self.address]);
        }
        self.devices.start(name.to_owned(), command)?;
        self.running += 1;
        Ok(())
    }

    /// Ends a device; not the first, by which the others are found.
    pub(crate) fn stop(&mut self, name: &str) {
        self.devices.stop(name);
        self.running -= 1;
    }

    /// Waits until every device can be used; how long that took.
    pub(crate) fn wait(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            let mut command = self.client_command("peers");
            command.args(["--json", "--wait", "3s"]);
            let output = child::capture(&mut command, self.stop, Some(PEERS_LIMIT), true, || ())?;
            let peers: Peers = parse(&output.stdout)?;
            let usable = peers.usable();
            if usable == self.running {
                return Ok(begun.elapsed());
            }
            self.devices.check()?;
            if begun.elapsed() > READY_LIMIT {
                bail!(
                    "{usable} of {} devices can be used after {} s\n{}",
                    self.running,
                    READY_LIMIT.as_secs(),
                    self.devices.tails()
                );
            }
        }
    }

    /// One request at a rung, or at the device's choice, each of `ranges` tokens for one member, in the order of their names.
    pub(crate) fn infer(
        &mut self,
        rung: Option<&str>,
        ranges: &str,
        more: &[&str],
    ) -> Result<(RequestReport, Answer)> {
        let file = self.folder.path().join("answer.json");
        let mut command = self.client_command("infer");
        command
            .arg(&self.photo)
            .args(["--json", "--ranges", ranges])
            .args(rung.map(|rung| ["--rung", rung]).into_iter().flatten())
            .args(["--deadline", DEADLINE, "--wait", "30s"])
            .args(more)
            .arg("--answer")
            .arg(&file);
        let output = child::capture(&mut command, self.stop, Some(INFER_LIMIT), false, || ())?;
        if !output.status.success() {
            let (why, logs) = (output.stderr.trim(), self.devices.tails());
            bail!("astra-edge infer failed ({}): {why}\n{logs}", output.status);
        }
        let report: RequestReport = parse(&output.stdout)?;
        if report.masked_tokens > 0 {
            bail!("{} tokens were lost: {report:?}", report.masked_tokens);
        }
        Ok((report, Answer::read(&file)?))
    }

    /// Refuses emulated devices whose weights are not mapped from files.
    pub(crate) fn maps_weights(&self) -> Result<()> {
        let sets = folder::entries(&self.weights().join("packed"))?;
        let packed = |graph| match sets.as_slice() {
            [set] => set.join(graph).join("weights.bin").exists(),
            _ => false,
        };
        let logs = self.devices.tails();
        if !packed("embed") || !packed("whole") || logs.contains("in memory") {
            bail!("weights are not mapped from {sets:?}\n{logs}");
        }
        Ok(())
    }

    fn weights(&self) -> PathBuf {
        self.folder.path().join("weights")
    }

    /// A client command for this cluster.
    fn client_command(&self, what: &str) -> Command {
        let mut command = self.client.command();
        command.args([what, "--cluster", &self.name]);
        command.args(["--no-multicast", "--connect", &self.address]);
        command
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| anyhow!("{error} in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cls: &[f32], map: &[f32]) -> Answer {
        Answer {
            cls: cls.to_vec(),
            map: map.to_vec(),
        }
    }

    #[test]
    fn cosines_are_of_class_tokens() {
        let one = answer(&[3.0, 4.0], &[9.0]);
        assert!((one.cosine(&answer(&[6.0, 8.0], &[])).unwrap() - 1.0).abs() < 1e-12);
        assert!(one.cosine(&answer(&[-4.0, 3.0], &[])).unwrap().abs() < 1e-12);
        assert!(one.cosine(&answer(&[1.0], &[])).is_err());
    }

    #[test]
    fn the_worst_of_all_values_counts() {
        let one = answer(&[1.0, 2.0], &[0.5]);
        assert_eq!(one.worst(&answer(&[1.0, 2.25], &[0.0])).unwrap(), 0.5);
        assert_eq!(
            one.worst(&answer(&[1.0, f32::NAN], &[0.5])).unwrap(),
            f32::INFINITY
        );
        assert!(one.worst(&answer(&[1.0, 2.0], &[])).is_err());
    }
}
