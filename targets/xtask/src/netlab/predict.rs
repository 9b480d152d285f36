//! Predictions of `astra-edge plan` for measured rows, from what the steps of a request take on a device of the lab.

use std::path::PathBuf;

use anyhow::Result;

use crate::binaries::Binaries;
use crate::edge::plan::{self, Case, Cpu};
use crate::provision::Provisioned;
use crate::stop::Stop;

use super::rows::Row;

/// A profile measured in the lab.
pub(super) struct Predictor<'a> {
    pub(super) binaries: &'a Binaries,
    pub(super) provisioned: &'a Provisioned,
    pub(super) profile: PathBuf,
    pub(super) cpu: Cpu,
    pub(super) shared_medium: bool,
    pub(super) stop: &'a Stop,
}

impl Predictor<'_> {
    /// Adds predictions to the rows of a cluster that exchanged codes.
    pub(super) fn add_to(&self, rows: &mut [Row], mbps: f64) -> Result<()> {
        for row in rows {
            let Some((devices, tokens, rung)) = row.case() else {
                continue;
            };
            let case = Case {
                profile: &self.profile,
                devices,
                tokens: Some(tokens),
                rung: &rung,
                mbps,
                cpu: self.cpu,
                shared_medium: self.shared_medium,
            };
            let predicted = plan::predict(self.binaries, self.provisioned, &case, self.stop)?;
            row.predict(predicted.latency_ms);
        }
        Ok(())
    }
}
