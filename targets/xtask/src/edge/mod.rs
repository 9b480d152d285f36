//! The command lines of `astra-edge` and `astra-export`, and what they answer: nothing else here
//! knows them.

mod lab;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::binaries::Binaries;
use crate::child;
use crate::provision::Provisioned;
use crate::report::Report;
use crate::stop::Stop;

pub(crate) use lab::{
    Case, Input, LabBaselines, LabBench, lab_baseline, lab_bench, lab_device, lab_profile,
    plan_case, run_bench,
};

/// A listing of peers takes a second or two; a request with its one-device comparison, loading the
/// model included, some more on a slow machine.
const PEERS_LIMIT: Duration = Duration::from_secs(30);
const INFER_LIMIT: Duration = Duration::from_secs(300);

/// One request to a cluster.
#[derive(Debug)]
pub(crate) struct Infer<'a> {
    pub(crate) photo: &'a Path,
    pub(crate) cluster: &'a str,
    /// Bits per token per block, or `exact`.
    pub(crate) rung: &'a str,
    /// Where the picture goes.
    pub(crate) picture: &'a Path,
}

/// One question in words to a cluster.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) prompt: &'a str,
    pub(crate) cluster: &'a str,
    /// Bits per token per block, or `exact`.
    pub(crate) rung: &'a str,
    /// One JSON object at the end instead of the text as it comes.
    pub(crate) json: bool,
}

/// `astra-edge peers --json`.
#[derive(Deserialize)]
struct Peers {
    devices: Vec<Peer>,
}

#[derive(Deserialize)]
struct Peer {
    usable: bool,
}

/// Exports a bundle to `bundle`; all of the exporter's output goes to standard error.
pub(crate) fn export(
    binaries: &Binaries,
    arguments: &[OsString],
    bundle: &Path,
    provisioned: &Provisioned,
    stop: &Stop,
) -> Result<()> {
    let mut command = program(&binaries.export, provisioned);
    command
        .arg("export")
        .args(arguments)
        .arg("--out")
        .arg(bundle)
        .stdout(io::stderr());
    child::run_to_success(&mut command, stop)
}

/// The command that runs one device.
pub(crate) fn device(
    binaries: &Binaries,
    provisioned: &Provisioned,
    name: &str,
    cluster: &str,
    bundle: &Path,
) -> Command {
    let mut command = program(&binaries.edge, provisioned);
    command
        .args(["run", "--name", name, "--cluster", cluster, "--bundle"])
        .arg(bundle);
    command
}

/// How many devices of the cluster can take part in a request.
pub(crate) fn usable_devices(
    binaries: &Binaries,
    provisioned: &Provisioned,
    cluster: &str,
    stop: &Stop,
) -> Result<usize> {
    usable_devices_by(binaries, provisioned, cluster, stop, |command| command)
}

/// The same, asked from wherever `place` puts the command that asks.
pub(crate) fn usable_devices_by(
    binaries: &Binaries,
    provisioned: &Provisioned,
    cluster: &str,
    stop: &Stop,
    place: impl FnOnce(Command) -> Command,
) -> Result<usize> {
    let mut command = program(&binaries.edge, provisioned);
    command.args(["peers", "--cluster", cluster, "--json"]);
    let mut command = place(command);
    let said = child::capture(&mut command, stop, Some(PEERS_LIMIT), false, || ())?;
    if !said.status.success() {
        bail!(
            "astra-edge peers failed ({}): {}",
            said.status,
            said.stderr.trim()
        );
    }
    count_usable(&said.stdout)
}

fn count_usable(answer: &str) -> Result<usize> {
    let peers: Peers = serde_json::from_str(answer)
        .with_context(|| format!("astra-edge peers --json answered {answer:?}"))?;
    Ok(peers.devices.iter().filter(|peer| peer.usable).count())
}

/// Sends one photograph through the cluster, compares the answer with one device's and draws it.
pub(crate) fn infer(
    binaries: &Binaries,
    provisioned: &Provisioned,
    infer: &Infer<'_>,
    stop: &Stop,
) -> Result<Report> {
    let mut command = program(&binaries.edge, provisioned);
    command
        .arg("infer")
        .arg(infer.photo)
        .args([
            "--cluster",
            infer.cluster,
            "--rung",
            infer.rung,
            "--compare",
            "--json",
            "--out",
        ])
        .arg(infer.picture);
    let said = child::capture(&mut command, stop, Some(INFER_LIMIT), false, || ())?;
    if !said.status.success() {
        bail!(
            "astra-edge infer failed ({}): {}",
            said.status,
            said.stderr.trim()
        );
    }
    let answer: Value = serde_json::from_str(&said.stdout)
        .with_context(|| format!("astra-edge infer --json answered {:?}", said.stdout))?;
    serde_json::from_value(answer.clone())
        .map_err(|error| anyhow!("astra-edge infer --json: {error} in {answer}"))
}

/// Asks the cluster in words. The answer goes to standard output as it comes.
pub(crate) fn ask(
    binaries: &Binaries,
    provisioned: &Provisioned,
    ask: &Ask<'_>,
    stop: &Stop,
) -> Result<()> {
    let mut command = program(&binaries.edge, provisioned);
    command
        .args(["ask", ask.prompt, "--cluster", ask.cluster])
        .args(["--rung", ask.rung, "--max-tokens", "64"])
        // The devices share one machine.
        .args(["--deadline", "60s"]);
    if ask.json {
        command.arg("--json");
    }
    child::run_to_success(&mut command, stop)
}

fn program(path: &Path, provisioned: &Provisioned) -> Command {
    let mut command = Command::new(path);
    command.envs(provisioned.variables());
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::Cache;

    pub(super) fn binaries() -> Binaries {
        Binaries {
            edge: "/bin/astra-edge".into(),
            export: "/bin/astra-export".into(),
        }
    }

    pub(super) fn provisioned() -> Provisioned {
        Provisioned {
            cache: Cache::at(Path::new("/cache")),
            runtime: "/lib/libonnxruntime.so".into(),
        }
    }

    #[test]
    fn only_usable_devices_count() {
        let answer = r#"{"cluster":"demo","devices":[
            {"name":"device-1","usable":true},
            {"name":"device-2","usable":false,"reason":"another bundle"},
            {"name":"device-3","usable":true}]}"#;
        assert_eq!(count_usable(answer).unwrap(), 2);
        assert_eq!(count_usable(r#"{"devices":[]}"#).unwrap(), 0);
    }

    #[test]
    fn an_answer_of_another_shape_is_shown() {
        let error = count_usable("no cluster").unwrap_err().to_string();
        assert_eq!(error, r#"astra-edge peers --json answered "no cluster""#);
    }
}
