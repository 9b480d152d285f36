//! `astra-edge plan`: measures what the steps of a request take, and predicts requests.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::binaries::Binaries;
use crate::child;
use crate::provision::Provisioned;
use crate::stop::Stop;

use super::program::program;

/// What a profile is measured with.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    pub(crate) bundle: &'a Path,
    /// Bits per token per block, or `exact`.
    pub(crate) rungs: &'a [String],
    /// Without it, a bundle that takes pictures is measured with an artificial one.
    pub(crate) photo: Option<&'a Path>,
    /// Compute threads; 0 for one a core.
    pub(crate) threads: usize,
}

/// A request to predict.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) profile: &'a Path,
    pub(crate) devices: u64,
    /// Of the input; `None` for as many as a picture has.
    pub(crate) tokens: Option<u64>,
    /// Bits per token per block, or `exact`.
    pub(crate) rung: &'a str,
    pub(crate) mbps: f64,
    pub(crate) cpu: Cpu,
    pub(crate) shared_medium: bool,
}

/// What a device has of a core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) cores: f64,
    /// Milliseconds of the period of the CPU quota that limits it; 0 without a quota.
    pub(crate) quota_period: f64,
}

/// One row of `astra-edge plan --json`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Prediction {
    pub(crate) latency_ms: f64,
    pub(crate) one_device_ms: f64,
    pub(crate) speedup_over_one_device: f64,
}

impl Cpu {
    /// A whole core, or as many as there are threads.
    pub(crate) const WHOLE: Self = Self {
        cores: 1.0,
        quota_period: 0.0,
    };
}

/// The command that measures the steps of a request and saves them as a profile.
pub(crate) fn profile_command(
    binaries: &Binaries,
    provisioned: &Provisioned,
    steps: &Steps<'_>,
    profile: &Path,
) -> Command {
    let mut command = program(&binaries.edge, provisioned);
    command
        .args(["plan", "--bundle"])
        .arg(steps.bundle)
        .args(["--rungs", &steps.rungs.join(",")])
        .args(["--threads", &steps.threads.to_string()])
        .arg("--save")
        .arg(profile);
    if let Some(photo) = steps.photo {
        command.arg("--image").arg(photo);
    }
    command
}

/// Runs a command of [`profile_command`].
///
/// # Errors
/// It fails, or there is no file `profile` after it.
pub(crate) fn measure(command: &mut Command, profile: &Path, stop: &Stop) -> Result<()> {
    run(command, stop)?;
    if !profile.is_file() {
        bail!(
            "{}: found no file, expected the profile of astra-edge plan",
            profile.display()
        );
    }
    Ok(())
}

/// Predicts one request from a profile.
pub(crate) fn predict(
    binaries: &Binaries,
    provisioned: &Provisioned,
    case: &Case<'_>,
    stop: &Stop,
) -> Result<Prediction> {
    let output = run(&mut case_command(binaries, provisioned, case), stop)?;
    let rows: Vec<Prediction> = serde_json::from_str(&output)
        .with_context(|| format!("astra-edge plan --json: found {output:?}, expected rows"))?;
    let row = rows.first().copied();
    row.context("astra-edge plan --json: found no row, expected one")
}

fn case_command(binaries: &Binaries, provisioned: &Provisioned, case: &Case<'_>) -> Command {
    let mut command = program(&binaries.edge, provisioned);
    command
        .args(["plan", "--json", "--profile"])
        .arg(case.profile)
        .args(["--devices", &case.devices.to_string()])
        .args(["--rungs", case.rung])
        .args(["--mbps", &case.mbps.to_string()])
        .args(["--cores", &case.cpu.cores.to_string()])
        .args(["--quota-period", &case.cpu.quota_period.to_string()]);
    if let Some(tokens) = case.tokens {
        command.args(["--tokens", &tokens.to_string()]);
    }
    if case.shared_medium {
        command.arg("--shared-medium");
    }
    command
}

fn run(command: &mut Command, stop: &Stop) -> Result<String> {
    let output = child::capture(command, stop, None, false, || ())?;
    if !output.status.success() {
        bail!(
            "astra-edge plan failed ({}): {}",
            output.status,
            output.stderr.trim()
        );
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::program::fixtures::{arguments, binaries, provisioned};

    #[test]
    fn a_case_is_passed_on() {
        let case = Case {
            profile: Path::new("/profile.json"),
            devices: 4,
            tokens: Some(256),
            rung: "320",
            mbps: 10.0,
            cpu: Cpu {
                cores: 0.45,
                quota_period: 4.0,
            },
            shared_medium: true,
        };
        let command = case_command(&binaries(), &provisioned(), &case);
        assert_eq!(
            arguments(&command),
            "plan --json --profile /profile.json --devices 4 --rungs 320 --mbps 10 --cores 0.45 --quota-period 4 --tokens 256 \
             --shared-medium"
        );
    }
}
