//! `astra-edge plan`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use astra_bundle::{Bundle, Manifest, Promise};
use astra_edge::config::{Rung, find_bundle};
use astra_edge::measure::link::measure_link;
use astra_edge::measure::steps::measure_steps;
use astra_edge::plan::latency::{Case, Network, Prediction, predict};
use astra_edge::plan::profile::Profile;
use astra_edge::report::table;
use astra_model::engine::Runtime;
use astra_model::tasks::image::prepare;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Most members a plan is made for: beyond that, the estimate is of no use.
const MOST_DEVICES: u16 = 64;

/// Predict the latency of requests on clusters that do not exist yet.
///
/// Measures the cost of each step of a request on this machine, or reads it from --profile, and simulates requests with it and a model
/// of the network. All devices are equally fast, and divide the tokens as a cluster would.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Members: numbers, or ranges such as 2..64
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "2..8"
    )]
    devices: Vec<Devices>,
    /// Network rate of each device, in megabits per second, each way
    #[arg(
        long,
        value_name = "RATE,...",
        value_delimiter = ',',
        default_value = "10,20,50,100,500"
    )]
    mbps: Vec<f64>,
    /// Tokens of the input [default: as many as a picture has, and 1024 of a text]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    tokens: Vec<u16>,
    /// Rungs: bits per token per block, or exact [default: those that keep the quality of clusters of these sizes, or all that the
    /// profile has]
    #[arg(long, value_name = "RUNG,...", value_delimiter = ',')]
    rungs: Vec<Rung>,
    /// Quality that decides about rungs where none are named, as in a device's settings
    #[arg(long, value_name = "Q", default_value = "0.99", conflicts_with_all = ["rungs", "profile"])]
    quality: Promise,
    /// All devices share one medium with this rate, as on Wi-Fi
    #[arg(long)]
    shared_medium: bool,
    /// Share of a core that a device has, up to 1
    #[arg(long, value_name = "CORES", default_value_t = 1.0)]
    cores: f64,
    /// Period of the CPU quota that limits a device to its share, milliseconds; 0 for a slower core without a quota
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    quota_period: f64,
    /// Read the costs from a file of --save, instead of measuring them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "save", "image"])]
    profile: Option<PathBuf>,
    /// Write the measured costs to a file, for --profile
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Directory of the exported model [default: the only one in the cache]
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// A typical picture to measure with, instead of a synthetic one: its compressed size matters on slow networks
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// ONNX Runtime library, or folders to search for it, separated by colons
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Threads that compute; 0 for one per core
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Print one JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// Numbers of devices: one, or all of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Devices {
    first: u16,
    last: u16,
}

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if 1 <= first && first <= last && last <= MOST_DEVICES => {
                Ok(Self { first, last })
            }
            _ => Err(format!(
                "expected a number from 1 to {MOST_DEVICES}, or two of them such as 2..{MOST_DEVICES}"
            )),
        }
    }
}

/// A row of the answer.
#[derive(Debug, Serialize)]
struct Row {
    devices: usize,
    tokens: u16,
    rung_bits: u16,
    mbps: f64,
    #[serde(flatten)]
    predicted: Prediction,
    speedup_over_one_device: f64,
}

pub(super) fn main(args: &Args) -> Result<()> {
    ensure!(
        args.cores > 0.0 && args.cores <= 1.0,
        "--cores: found {}, expected a share up to 1",
        args.cores
    );
    ensure!(
        args.quota_period >= 0.0 && args.quota_period.is_finite(),
        "--quota-period: found {}, expected milliseconds",
        args.quota_period
    );
    if let Some(rate) = args
        .mbps
        .iter()
        .find(|rate| !(**rate > 0.0 && rate.is_finite()))
    {
        bail!("--mbps: found {rate}, expected a positive number");
    }
    let profile = match &args.profile {
        Some(path) => read(path)?,
        None => measured(args)?,
    };
    if let Some(path) = &args.save {
        let text = serde_json::to_string_pretty(&profile)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    let rows = rows(args, &profile)?;
    if args.json {
        return super::print_json(&rows);
    }
    super::print_line(&as_table(&rows))
}

impl Args {
    fn sizes(&self) -> impl Iterator<Item = u16> {
        self.devices.iter().flat_map(|each| each.first..=each.last)
    }

    /// Rungs to measure.
    fn measured_rungs(&self, manifest: &Manifest) -> Vec<u16> {
        if !self.rungs.is_empty() {
            return self.rungs.iter().map(|rung| rung.0).collect();
        }
        let chosen = self.sizes().map(|devices| {
            let chosen = manifest.default_rung(self.quality, devices.into());
            // Bits are 16 bits wide on the wire; without any rung a cluster uses exact mode.
            chosen.map_or(0, |chosen| u16::try_from(chosen.rung.bits).unwrap_or(0))
        });
        let mut rungs: Vec<u16> = chosen.collect();
        rungs.sort_unstable();
        rungs.dedup();
        rungs
    }

    /// Rungs to predict with.
    fn predicted_rungs(&self, profile: &Profile) -> Vec<u16> {
        match self.rungs.as_slice() {
            [] => profile.rungs.iter().map(|rung| rung.bits).collect(),
            named => named.iter().map(|rung| rung.0).collect(),
        }
    }
}

fn read(path: &Path) -> Result<Profile> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let profile = serde_json::from_str(&text);
    profile.with_context(|| format!("{}: expected what --save wrote", path.display()))
}

fn measured(args: &Args) -> Result<Profile> {
    let dir = find_bundle(args.bundle.clone())?;
    let bundle = Bundle::open(&dir)?;
    let rungs = args.measured_rungs(bundle.manifest());
    let pixels = match (&args.image, &bundle.manifest().image) {
        (Some(path), Some(spec)) => {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            let prepared = prepare(&bytes, spec);
            Some(prepared.with_context(|| path.display().to_string())?.pixels)
        }
        _ => None,
    };
    let style = ProgressStyle::with_template("measuring {bar:30} {pos} of {len}")?;
    let bar = ProgressBar::new(rungs.len() as u64 + 3).with_style(style);
    let link = super::runtime()?.block_on(measure_link())?;
    bar.inc(1);
    let runtime = Runtime::load(args.onnxruntime.as_deref(), args.threads)?;
    let profile = measure_steps(&runtime, &bundle, &rungs, pixels.as_deref(), link, || {
        bar.inc(1)
    });
    bar.finish_and_clear();
    Ok(profile?)
}

fn rows(args: &Args, profile: &Profile) -> Result<Vec<Row>> {
    let class = if profile.causal {
        profile.shape.class_tokens
    } else {
        0
    };
    let default = match profile.strip {
        Some(_) => profile.shape.tokens,
        None => profile.shape.tokens.min(1024),
    };
    let lengths = match args.tokens.as_slice() {
        [] => vec![u16::try_from(default).unwrap_or(u16::MAX)],
        given => given.to_vec(),
    };
    let mut rows = Vec::new();
    for &tokens in &lengths {
        for &rung in &args.predicted_rungs(profile) {
            for &mbps in &args.mbps {
                for devices in args.sizes() {
                    let case = Case {
                        devices: devices.into(),
                        tokens: tokens.saturating_sub(u16::try_from(class).unwrap_or(0)),
                        rung,
                        network: Network {
                            mbps,
                            shared: args.shared_medium,
                        },
                        cores: args.cores,
                        quota_period: args.quota_period,
                    };
                    let predicted = predict(profile, &case)?;
                    rows.push(Row {
                        devices: case.devices,
                        tokens,
                        rung_bits: rung,
                        mbps,
                        speedup_over_one_device: predicted.one_device_ms / predicted.latency_ms,
                        predicted,
                    });
                }
            }
        }
    }
    Ok(rows)
}

fn as_table(rows: &[Row]) -> String {
    let headings = [
        "tokens",
        "bits",
        "Mbps",
        "devices",
        "predicted ms",
        "speedup",
        "compute",
        "encode",
        "wait",
        "rest",
    ];
    let mut cells = vec![headings.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let time = |value: f64| format!("{value:.1}");
        [
            row.tokens.to_string(),
            match row.rung_bits {
                0 => "exact".to_owned(),
                bits => bits.to_string(),
            },
            row.mbps.to_string(),
            row.devices.to_string(),
            time(row.predicted.latency_ms),
            format!("{:.2}", row.speedup_over_one_device),
            time(row.predicted.compute_ms),
            time(row.predicted.encode_ms),
            time(row.predicted.wait_ms),
            time(row.predicted.rest_ms),
        ]
    }));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = table(&mut text, &cells);
    let fastest = rows
        .iter()
        .min_by(|a, b| a.predicted.latency_ms.total_cmp(&b.predicted.latency_ms));
    if let Some(row) = fastest {
        let one = row.predicted.one_device_ms;
        text.push_str(&format!(
            "one device: {one:.1} ms; fastest: {} devices",
            row.devices
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_numbers_or_ranges() {
        let parsed = |text: &str| text.parse::<Devices>().map(|one| (one.first, one.last));
        assert_eq!(parsed("4"), Ok((4, 4)));
        assert_eq!(parsed("2..64"), Ok((2, 64)));
        for wrong in ["0", "65", "4..2", "2..", "many", "2..65"] {
            assert!(parsed(wrong).is_err(), "{wrong} was taken");
        }
    }
}
