//! Repeated requests, and what is said of them: medians, spreads, bytes, and where the time went.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::agreement::Agreement;
use crate::report::{MemberReport, Report, table};

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Method {
    /// The whole model on the asked device, as one graph.
    #[serde(rename = "one-device")]
    OneDevice,
    /// Tokens divided, codes exchanged.
    #[serde(rename = "astra")]
    Astra,
    /// Tokens divided, float32 exchanged: sequence parallelism.
    #[serde(rename = "sp-f32")]
    SpF32,
}

impl Method {
    /// The method of requests at so many bits; 0 in exact mode.
    pub fn of_rung(bits: u16) -> Self {
        match bits {
            0 => Self::SpF32,
            _ => Self::Astra,
        }
    }

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneDevice => "one-device",
            Self::Astra => "astra",
            Self::SpF32 => "sp-f32",
        }
    }
}

/// One measured request.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// What it took.
    pub report: Report,
    /// How close its answer is to the one-device answer.
    pub agreement: Agreement,
    /// Bytes that left the devices meanwhile, as the kernel counts them.
    pub kernel: Option<u64>,
}

/// What was asked for in a row.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Name of the link.
    pub preset: Option<String>,
    /// How requests are answered.
    pub method: Method,
    /// Bits per token per block; 0 in exact mode and on one device.
    pub rung_bits: u16,
}

/// Requests of one kind. Times are in milliseconds; of members, they are means over members, and medians over requests.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the link.
    pub preset: Option<String>,
    /// How requests were answered.
    pub method: Method,
    /// Members that took part.
    pub devices: usize,
    /// Tokens divided among them.
    pub tokens: usize,
    /// Bits per token per block; `null` where none were sent, 0 in exact mode.
    pub rung_bits: Option<u16>,
    /// Requests measured.
    pub requests: usize,
    /// Median of their latencies.
    pub latency_ms_median: f64,
    /// The quarter of requests that was fastest took at most this.
    pub latency_ms_quarter: f64,
    /// Three quarters of requests took at most this.
    pub latency_ms_three_quarters: f64,
    /// The fastest.
    pub latency_ms_min: f64,
    /// The slowest.
    pub latency_ms_max: f64,
    /// Median on one device over this median; absent without a one-device row.
    pub speedup_over_one_device: Option<f64>,
    /// The worst of the requests, figure by figure.
    pub agreement: Agreement,
    /// Bytes of codes, input and shares between devices that we know of, median.
    pub bytes_counted: u64,
    /// Of these the input sent to other members, median.
    pub input_bytes: u64,
    /// And the shares that came back from them, median.
    pub result_bytes: u64,
    /// Bytes that left the devices as the kernel counts them, headers, acknowledgements and keep-alives included, median;
    /// absent without counters.
    pub bytes_kernel: Option<u64>,
    /// Running the model.
    pub compute_ms: f64,
    /// Finding codes and handing frames on.
    pub encode_ms: f64,
    /// Waiting for codes of others.
    pub wait_ms: f64,
    /// What is left of the latency: input out, shares back, head, and members that began or ended apart.
    pub rest_ms: f64,
    /// Member by member.
    pub members: Vec<MemberRow>,
    /// Tokens left out of attention, most of the requests.
    pub masked_tokens: u64,
    /// Why a device answered alone where more were asked for.
    pub alone: Option<String>,
}

/// A member's medians over requests.
#[derive(Clone, Debug, Serialize)]
pub struct MemberRow {
    /// Its name.
    pub name: String,
    /// Tokens it owned.
    pub tokens: u16,
    /// Running the model.
    pub compute_ms: f64,
    /// Finding codes and handing frames on.
    pub encode_ms: f64,
    /// Waiting for codes of others.
    pub wait_ms: f64,
}

impl Row {
    /// Sums up the requests of a cell; `None` of none. `one_device` is the median on one device.
    pub fn of(cell: Cell, samples: &[Sample], one_device: Option<f64>) -> Option<Self> {
        let last = &samples.last()?.report;
        let of = |get: &dyn Fn(&Sample) -> f64, share: f64| {
            quantile(&samples.iter().map(get).collect::<Vec<_>>(), share)
        };
        let latency = |share| of(&|sample| sample.report.latency_ms, share);
        let part = |get: fn(&MemberReport) -> f64| of(&|sample| mean(&sample.report, get), 0.5);
        let (compute_ms, encode_ms, wait_ms) = (
            part(|member| member.compute_ms),
            part(|member| member.encode_ms),
            part(|member| member.wait_ms),
        );
        let median = latency(0.5);
        let (rung_bits, speedup) = match cell.method {
            Method::OneDevice => (None, Some(1.0)),
            _ => (Some(cell.rung_bits), one_device.map(|one| one / median)),
        };
        let kernel: Option<Vec<f64>> = samples.iter().map(|s| s.kernel.map(|b| b as f64)).collect();
        Some(Self {
            preset: cell.preset,
            method: cell.method,
            devices: last.members.len(),
            tokens: last
                .members
                .iter()
                .map(|member| usize::from(member.tokens))
                .sum(),
            rung_bits,
            requests: samples.len(),
            latency_ms_median: median,
            latency_ms_quarter: latency(0.25),
            latency_ms_three_quarters: latency(0.75),
            latency_ms_min: latency(0.0),
            latency_ms_max: latency(1.0),
            speedup_over_one_device: speedup,
            agreement: worst(samples.iter().map(|sample| sample.agreement)),
            bytes_counted: of(&|sample| counted(&sample.report) as f64, 0.5) as u64,
            input_bytes: of(&|sample| sample.report.input_bytes as f64, 0.5) as u64,
            result_bytes: of(&|sample| sample.report.result_bytes as f64, 0.5) as u64,
            bytes_kernel: kernel.map(|bytes| quantile(&bytes, 0.5) as u64),
            compute_ms,
            encode_ms,
            wait_ms,
            rest_ms: median - compute_ms - encode_ms - wait_ms,
            members: members(samples, last),
            masked_tokens: samples
                .iter()
                .map(|s| s.report.masked_tokens)
                .max()
                .unwrap_or(0),
            alone: last
                .alone
                .clone()
                .filter(|_| cell.method != Method::OneDevice),
        })
    }

    fn name(&self) -> String {
        let method = self.method.name();
        match self.rung_bits {
            None => method.to_owned(),
            Some(0) => format!("{method} in exact mode"),
            Some(bits) => format!("{method} at {bits} bits"),
        }
    }

    fn cells(&self) -> [String; HEADINGS.len()] {
        let figure = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let time = |value: f64| format!("{value:.1}");
        [
            self.preset.clone().unwrap_or_else(|| "-".to_owned()),
            self.method.name().to_owned(),
            self.devices.to_string(),
            self.tokens.to_string(),
            match self.rung_bits {
                None => "-".to_owned(),
                Some(0) => "exact".to_owned(),
                Some(bits) => bits.to_string(),
            },
            self.requests.to_string(),
            time(self.latency_ms_median),
            format!("{:.1}-{:.1}", self.latency_ms_min, self.latency_ms_max),
            figure(self.speedup_over_one_device, 2),
            figure(self.agreement.cls_cosine, 4),
            figure(self.agreement.map_mae, 4),
            self.bytes_counted.to_string(),
            self.bytes_kernel
                .map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
            time(self.compute_ms),
            time(self.encode_ms),
            time(self.wait_ms),
            time(self.rest_ms),
        ]
    }
}

const HEADINGS: [&str; 17] = [
    "link",
    "method",
    "devices",
    "tokens",
    "bits",
    "n",
    "median ms",
    "min-max",
    "speedup",
    "CLS cosine",
    "map error",
    "bytes",
    "by kernel",
    "compute",
    "encode",
    "wait",
    "rest",
];

/// Rows for people.
pub fn rows_as_table(rows: &[Row]) -> String {
    let mut cells = vec![HEADINGS.map(str::to_owned)];
    cells.extend(rows.iter().map(Row::cells));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = table(&mut text, &cells);
    for row in rows {
        let row_name = row.name();
        if let Some(why) = &row.alone {
            text.push_str(&format!("{row_name} was answered by one device: {why}\n"));
        }
        if row.masked_tokens > 0 {
            let tokens = row.masked_tokens;
            text.push_str(&format!("{row_name} left out {tokens} tokens\n"));
        }
    }
    text
}

/// The value that a share of `values` does not exceed, between two of them where it falls between; 0 of none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(0.0);
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (high - low) * place.fract()
}

/// Median, of requests say; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn mean(report: &Report, get: fn(&MemberReport) -> f64) -> f64 {
    let sum: f64 = report.members.iter().map(get).sum();
    sum / report.members.len().max(1) as f64
}

/// Bytes of one request between devices.
fn counted(report: &Report) -> u64 {
    let codes: u64 = report.members.iter().map(|member| member.bytes_sent).sum();
    codes + report.input_bytes + report.result_bytes
}

fn members(samples: &[Sample], last: &Report) -> Vec<MemberRow> {
    let rows = last.members.iter().enumerate().map(|(number, member)| {
        let of = |get: fn(&MemberReport) -> f64| {
            let reports = samples.iter().filter_map(|s| s.report.members.get(number));
            median(&reports.map(get).collect::<Vec<_>>())
        };
        MemberRow {
            name: member.name.clone(),
            tokens: member.tokens,
            compute_ms: of(|member| member.compute_ms),
            encode_ms: of(|member| member.encode_ms),
            wait_ms: of(|member| member.wait_ms),
        }
    });
    rows.collect()
}

fn worst(agreements: impl Iterator<Item = Agreement>) -> Agreement {
    let pick = |a: Option<f64>, b: Option<f64>, choose: fn(f64, f64) -> f64| match (a, b) {
        (Some(a), Some(b)) => Some(choose(a, b)),
        (found, None) | (None, found) => found,
    };
    agreements.fold(Agreement::default(), |a, b| Agreement {
        cls_cosine: pick(a.cls_cosine, b.cls_cosine, f64::min),
        patch_cosine: pick(a.patch_cosine, b.patch_cosine, f64::min),
        map_mae: pick(a.map_mae, b.map_mae, f64::max),
        map_max: pick(a.map_max, b.map_max, f64::max),
    })
}

/// The kernel's counters of some interfaces: folders such as `/sys/class/net/eth0/statistics`.
#[derive(Clone, Debug, Default)]
pub struct Counters(Vec<PathBuf>);

/// A counter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {found}; expected a number of bytes", path.display())]
pub struct CounterError {
    path: PathBuf,
    found: String,
}

impl Counters {
    /// Counters in these folders.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self(folders)
    }

    /// Bytes that left by all of them since they were made; `None` without any.
    ///
    /// # Errors
    /// The first that cannot be read.
    pub fn sent(&self) -> Result<Option<u64>, CounterError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let each = self.0.iter().map(|folder| read(&folder.join("tx_bytes")));
        each.sum::<Result<u64, _>>().map(Some)
    }
}

fn read(path: &Path) -> Result<u64, CounterError> {
    let wrong = |found: String| CounterError {
        path: path.to_owned(),
        found,
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let text = text.trim();
    text.parse().map_err(|_| wrong(format!("{text:?}")))
}

#[cfg(test)]
#[path = "bench_tests.rs"]
mod tests;
