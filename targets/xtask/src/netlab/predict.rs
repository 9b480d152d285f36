//! What `astra-edge plan` expects of every row, from what the steps of a request take on a device of the lab.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::binaries::Binaries;
use crate::child;
use crate::edge::{self, Case};
use crate::provision::Provisioned;
use crate::stop::Stop;

use super::rows::Row;

/// A bundle's steps, measured.
pub(super) struct Predictor<'a> {
    pub(super) binaries: &'a Binaries,
    pub(super) provisioned: &'a Provisioned,
    pub(super) profile: PathBuf,
    pub(super) cores: Option<f64>,
    pub(super) shared_medium: bool,
    pub(super) stop: &'a Stop,
}

#[derive(Deserialize)]
struct Predicted {
    latency_ms: f64,
}

impl Predictor<'_> {
    /// Enters predictions into the rows that are of one device, or of tokens divided.
    pub(super) fn enter(&self, rows: &mut [Row], mbps: f64) -> Result<()> {
        for row in rows {
            if let Some((devices, tokens, rung)) = row.case() {
                row.predict(self.latency(devices, tokens, &rung, mbps)?);
            }
        }
        Ok(())
    }

    fn latency(&self, devices: u64, tokens: u64, rung: &str, mbps: f64) -> Result<f64> {
        let case = Case {
            profile: &self.profile,
            devices,
            tokens,
            rung,
            mbps,
            cores: self.cores.unwrap_or(1.0).min(1.0),
            shared_medium: self.shared_medium,
        };
        let mut command = edge::plan_case(self.binaries, self.provisioned, &case);
        let said = run(&mut command, self.stop)?;
        let rows: Vec<Predicted> = serde_json::from_str(&said)
            .with_context(|| format!("astra-edge plan --json answered {said:?}"))?;
        let row = rows
            .first()
            .context("astra-edge plan --json answered no row")?;
        Ok(row.latency_ms)
    }
}

/// Measures the steps into a file.
pub(super) fn measure(command: &mut Command, profile: &Path, stop: &Stop) -> Result<()> {
    run(command, stop)?;
    if !profile.is_file() {
        bail!("astra-edge plan wrote no {}", profile.display());
    }
    Ok(())
}

fn run(command: &mut Command, stop: &Stop) -> Result<String> {
    let said = child::capture(command, stop, None, false, || ())?;
    if !said.status.success() {
        bail!(
            "astra-edge plan failed ({}): {}",
            said.status,
            said.stderr.trim()
        );
    }
    Ok(said.stdout)
}
