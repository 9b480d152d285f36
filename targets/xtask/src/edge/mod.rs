//! The command lines of `astra-edge` and `astra-export`, and their answers: no other module knows them.
//!
//! - `program`: the commands that the others extend; `lab`: devices, clients and baselines in the lab; `plan`: profiles and predictions

mod lab;
pub(crate) mod plan;
mod program;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use astra_report::Peers;
use serde_json::Value;

use crate::binaries::Binaries;
use crate::child;
use crate::provision::Provisioned;
use crate::report::Report;
use crate::stop::Stop;

pub(crate) use lab::{
    Discovery, Input, LabBaselines, LabBench, LabDevice, lab_baseline, lab_bench, lab_device,
    run_bench,
};
pub(crate) use program::device;

use program::program;

/// Listing peers takes a second or two; a request with its one-device comparison more on a slow machine.
const PEERS_LIMIT: Duration = Duration::from_secs(30);
const INFER_LIMIT: Duration = Duration::from_secs(300);

/// One request to a cluster.
#[derive(Debug)]
pub(crate) struct Infer<'a> {
    pub(crate) photo: &'a Path,
    pub(crate) cluster: &'a str,
    /// Bits per token per block, or `exact`; the devices' own choice if `None`.
    pub(crate) rung: Option<&'a str>,
    /// File that the picture is drawn into.
    pub(crate) picture: &'a Path,
}

/// Arguments of `astra-edge ask`.
#[derive(Debug)]
pub(crate) struct AskArgs<'a> {
    pub(crate) prompt: &'a str,
    pub(crate) cluster: &'a str,
    /// Bits per token per block, or `exact`; the devices' own choice if `None`.
    pub(crate) rung: Option<&'a str>,
    /// File that the report of the request is written into.
    pub(crate) report: &'a Path,
    /// Print nothing; [`ask`] returns the JSON object instead.
    pub(crate) json: bool,
}

/// Exports a bundle to `bundle`; the exporter's output goes to standard error.
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

/// Counts the devices of the cluster that can take part in a request. `discovery` is `None` for multicast on the default
/// interface, and `place` moves the client command into a namespace.
pub(crate) fn usable_devices(
    binaries: &Binaries,
    provisioned: &Provisioned,
    cluster: &str,
    discovery: Option<Discovery<'_>>,
    stop: &Stop,
    place: impl FnOnce(Command) -> Command,
) -> Result<usize> {
    let mut command = program(&binaries.edge, provisioned);
    command.args(["peers", "--cluster", cluster, "--json"]);
    if let Some(discovery) = discovery {
        discovery.add_to(&mut command);
    }
    let mut command = place(command);
    let output = child::capture(&mut command, stop, Some(PEERS_LIMIT), false, || ())?;
    if !output.status.success() {
        bail!(
            "astra-edge peers failed ({}): {}",
            output.status,
            output.stderr.trim()
        );
    }
    count_usable(&output.stdout)
}

fn count_usable(answer: &str) -> Result<usize> {
    let peers: Peers = serde_json::from_str(answer)
        .with_context(|| format!("astra-edge peers --json answered {answer:?}"))?;
    Ok(peers.usable())
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
        .args(["--cluster", infer.cluster, "--compare", "--json", "--out"])
        .arg(infer.picture);
    if let Some(rung) = infer.rung {
        command.args(["--rung", rung]);
    }
    let output = child::capture(&mut command, stop, Some(INFER_LIMIT), false, || ())?;
    if !output.status.success() {
        bail!(
            "astra-edge infer failed ({}): {}",
            output.status,
            output.stderr.trim()
        );
    }
    let answer: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("astra-edge infer --json answered {:?}", output.stdout))?;
    serde_json::from_value(answer.clone())
        .map_err(|error| anyhow!("astra-edge infer --json: {error} in {answer}"))
}

/// Sends a prompt to the cluster. The answer streams to standard output, unless `args.json` is set: then it is returned.
pub(crate) fn ask(
    binaries: &Binaries,
    provisioned: &Provisioned,
    args: &AskArgs<'_>,
    stop: &Stop,
) -> Result<Option<Value>> {
    let mut command = program(&binaries.edge, provisioned);
    command
        .args(["ask", args.prompt, "--cluster", args.cluster])
        .args(["--max-tokens", "64"])
        // The devices share one machine.
        .args(["--deadline", "60s"])
        .arg("--report")
        .arg(args.report);
    if let Some(rung) = args.rung {
        command.args(["--rung", rung]);
    }
    if !args.json {
        child::run_to_success(&mut command, stop)?;
        return Ok(None);
    }
    command.arg("--json");
    let output = child::capture(&mut command, stop, None, true, || ())?;
    if !output.status.success() {
        bail!("astra-edge ask failed ({})", output.status);
    }
    let answer = serde_json::from_str(&output.stdout);
    let found = || format!("astra-edge ask --json answered {:?}", output.stdout);
    answer.with_context(found).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

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
