//! Predicts what the demo's cluster takes on machines of its own, or measures it in the lab.

use std::num::NonZero;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::bundle::Size;
use crate::edge::plan::{self, Case, Cpu, Steps};
use crate::netlab::{self, Bench, LEAST_CORES, NetlabArgs, Row};
use crate::progress;
use crate::report::{Estimate, Lab, Predicted};

use super::args::DemoArgs;
use super::setup::Demo;

/// Share of this machine's cores that the lab gives its devices; the rest is for the kernel and the client.
const FOR_DEVICES: f64 = 0.9;
/// Requests that the lab measures.
const REQUESTS: usize = 9;

/// Cores of this machine.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Why devices that share this machine are slower than one that has it to itself, and what the estimate is.
pub(super) fn explanation(devices: u8, cores: usize, estimate: Option<&Estimate>) -> String {
    let what = match estimate {
        Some(Estimate::Predicted(_)) => {
            "The prediction is for a machine for each device, from the time of each step on this one. As root on Linux, --lab \
             measures it instead."
        }
        Some(Estimate::Lab(_)) => {
            "In the lab every device has a network and a share of a core of its own, and so has the one device."
        }
        // One device divides nothing.
        None => return format!("The device has all {cores} cores of this machine."),
    };
    format!(
        "The {devices} devices above share the {cores} cores of this machine, of which one device alone has all: dividing the work \
         gains nothing here, and the exchange of codes comes on top.\n{what}"
    )
}

/// The share of a core that each device has in the lab, in hundredths.
///
/// # Errors
/// There are too many devices for this machine, or one, which has no other to divide work with.
pub(super) fn share(cores: usize, devices: u8) -> Result<f64> {
    if devices < 2 {
        bail!("--lab: found --devices {devices}, expected at least 2");
    }
    let share = (cores as f64 * FOR_DEVICES / f64::from(devices) * 100.0).floor() / 100.0;
    if share < LEAST_CORES {
        bail!(
            "--lab: found {share} core for each of {devices} devices, expected at least {LEAST_CORES}"
        );
    }
    Ok(share.min(1.0))
}

impl Demo<'_> {
    /// An estimate for the request that was made, which had `tokens` if it was a prompt, at the rung of `bits`; `None` of one device,
    /// which divides nothing.
    pub(super) fn estimate(
        &self,
        tokens: Option<u16>,
        bits: Option<u32>,
        folder: &Path,
    ) -> Result<Option<Estimate>> {
        if self.args.devices < 2 {
            return Ok(None);
        }
        let rung = match (&self.args.rung, bits) {
            (Some(named), _) => named.clone(),
            (None, None | Some(0)) => "exact".to_owned(),
            (None, Some(bits)) => bits.to_string(),
        };
        let estimate = match self.args.lab {
            true => Estimate::Lab(self.measure(tokens, rung)?),
            false => Estimate::Predicted(self.predict(tokens, &rung, folder)?),
        };
        Ok(Some(estimate))
    }

    fn predict(&self, tokens: Option<u16>, rung: &str, folder: &Path) -> Result<Predicted> {
        let DemoArgs { devices, mbps, .. } = *self.args;
        let profile = folder.join("profile.json");
        let rungs = &[rung.to_owned()];
        let photo = self.photo();
        let steps = Steps {
            bundle: self.bundle,
            rungs,
            photo: tokens.is_none().then_some(&*photo),
            // As the devices above.
            threads: 0,
        };
        let spinner = progress::spinner("measuring each step, to predict machines of their own");
        let mut command = plan::profile_command(self.binaries, self.provisioned, &steps, &profile);
        plan::measure(&mut command, &profile, self.stop)?;
        let case = Case {
            profile: &profile,
            devices: devices.into(),
            tokens: tokens.map(u64::from),
            rung,
            mbps: mbps.0,
            cpu: Cpu::WHOLE,
            shared_medium: false,
        };
        let found = plan::predict(self.binaries, self.provisioned, &case, self.stop)?;
        spinner.finish_and_clear();
        Ok(Predicted {
            devices,
            mbps: mbps.0,
            latency_ms: found.latency_ms,
            one_device_latency_ms: found.one_device_ms,
            speedup: found.speedup_over_one_device,
        })
    }

    fn measure(&self, tokens: Option<u16>, rung: String) -> Result<Lab> {
        let DemoArgs { devices, mbps, .. } = *self.args;
        let cores = share(cores(), devices)?;
        let args = NetlabArgs {
            devices,
            cpu: Some(cores),
            mbps: vec![mbps],
            bench: vec![match (tokens, self.args.size) {
                (Some(_), _) => Bench::Smollm1024,
                (None, Size::Small) => Bench::Vit224,
                (None, Size::Large) => Bench::Vit518,
            }],
            rungs: vec![rung],
            members: vec![devices],
            repeat: REQUESTS,
            photo: self.args.photo.clone(),
            tokens: tokens.into_iter().collect(),
            keep: self.args.keep,
            ..NetlabArgs::quiet()
        };
        let rows = netlab::measure(&args, self.stop)?;
        let found = from_rows(&rows, cores, mbps.0);
        found.context("lab: found no row of the cluster, expected one")
    }
}

fn from_rows(rows: &[Row], cores: f64, mbps: f64) -> Option<Lab> {
    let is_one = |row: &&Row| row.text("method") == "one-device";
    let one = rows.iter().find(is_one)?;
    let all = rows.iter().find(|row| !is_one(row))?;
    let (latency_ms, one_device_latency_ms) = (
        all.number(&["latency_ms_median"])?,
        one.number(&["latency_ms_median"])?,
    );
    Some(Lab {
        devices: all.number(&["devices"])? as u8,
        cores,
        mbps,
        requests: all.number(&["requests"])? as usize,
        latency_ms,
        one_device_latency_ms,
        speedup: one_device_latency_ms / latency_ms,
        predicted_ms: all.number(&["predicted_ms"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_fits_the_estimate() {
        let predicted = Estimate::Predicted(Predicted {
            devices: 3,
            mbps: 100.0,
            latency_ms: 23.46,
            one_device_latency_ms: 41.26,
            speedup: 1.7587,
        });
        let text = explanation(3, 2, Some(&predicted));
        assert!(text.starts_with("The 3 devices above share the 2 cores of this machine"));
        assert!(text.contains("\nThe prediction is for a machine for each device"));
        assert_eq!(
            explanation(1, 2, None),
            "The device has all 2 cores of this machine."
        );
    }

    #[test]
    fn shares_leave_room_for_everything_else() {
        assert_eq!(share(2, 4).unwrap(), 0.45);
        assert_eq!(share(2, 3).unwrap(), 0.6);
        assert_eq!(share(16, 3).unwrap(), 1.0);
        assert!(share(2, 1).unwrap_err().to_string().contains("--devices 1"));
        assert!(
            share(1, 16)
                .unwrap_err()
                .to_string()
                .contains("expected at least 0.1")
        );
    }
}
