//! Repeated requests, and what is said of them: medians, spreads, bytes, and where the time went.

mod busy;
mod counters;
mod prompts;
mod table;

use serde::Serialize;

pub use busy::{Busy, BusyError, Processes};
pub use counters::{CounterError, Counters};
pub use prompts::{PromptError, prompts};
pub use table::rows_as_table;

use crate::report::{MemberReport, Report};
use astra_model::agreement::Agreement;

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
    /// The same with float16.
    #[serde(rename = "sp-f16")]
    SpF16,
    /// Heads and columns of the MLP divided, two all-reduces a block: tensor parallelism.
    #[serde(rename = "tp")]
    Tp,
    /// Sub-blocks side by side, an all-gather after every block: block parallelism.
    #[serde(rename = "bp-1")]
    Bp1,
    /// The same after every fourth block.
    #[serde(rename = "bp-4")]
    Bp4,
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
            Self::SpF16 => "sp-f16",
            Self::Tp => "tp",
            Self::Bp1 => "bp-1",
            Self::Bp4 => "bp-4",
        }
    }

    /// What has to be known of its figures.
    pub fn note(self) -> Option<&'static str> {
        match self {
            Self::Bp1 | Self::Bp4 => {
                Some("latency only: the method's weights need training of their own")
            }
            _ => None,
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
    /// Processor time of the devices meanwhile.
    pub busy: Option<Busy>,
}

impl Sample {
    /// Milliseconds from the input to the answer, of a text to its first token.
    fn latency_ms(&self) -> f64 {
        self.report.prefill_ms.unwrap_or(self.report.latency_ms)
    }
}

/// What was asked for in a row.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Name of the link.
    pub preset: Option<String>,
    /// How requests are answered.
    pub method: Method,
    /// Bits per token per block; 0 in exact mode and where no tokens are exchanged.
    pub rung_bits: u16,
}

/// What one device makes of the same requests.
#[derive(Clone, Copy, Debug)]
pub struct Alone {
    /// Median latency, milliseconds.
    pub latency_ms: f64,
    /// Processor time besides its computing thread, milliseconds: preparing the input, which is no part of the latency.
    pub beside_ms: f64,
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
    /// Tokens of the input.
    pub tokens: usize,
    /// Bits per token per block; `null` where none were sent, 0 in exact mode.
    pub rung_bits: Option<u16>,
    /// Requests measured.
    pub requests: usize,
    /// Requests that other members answered, because the devices found fewer or more worth it: they are in none of the figures.
    pub requests_by_others: usize,
    /// What came before the latency, median: reading the picture and making it as large as the model's input. `null` where it was not
    /// measured.
    pub prepare_ms: Option<f64>,
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
    /// The worst of the requests, figure by figure; of `top1` the mean. `null` where nothing can be compared.
    pub agreement: Option<Agreement>,
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
    /// Finding codes, handing frames on, and turning codes into tokens again.
    pub encode_ms: f64,
    /// Waiting for codes of others.
    pub wait_ms: f64,
    /// The same as a share of the latency.
    pub wait_share: f64,
    /// Share of the devices' processor time that was not spent in ONNX Runtime, nor on preparing the input; absent where it
    /// was not measured.
    pub own_share: Option<f64>,
    /// What is left of the latency: input out, shares back, head, and members that began or ended apart.
    pub rest_ms: f64,
    /// Member by member.
    pub members: Vec<MemberRow>,
    /// Tokens left out of attention, most of the requests.
    pub masked_tokens: u64,
    /// Why a device answered alone where more were asked for.
    pub alone: Option<String>,
    /// What has to be known of these figures.
    pub note: Option<&'static str>,
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
    /// Sums up the requests of a cell, those that the members answered who answered most of them; `None` of none.
    pub fn of(cell: Cell, all: &[Sample], alone: Option<Alone>) -> Option<Self> {
        let samples = &*of_most_members(all);
        let last = &samples.last()?.report;
        let of = |get: &dyn Fn(&Sample) -> f64, share: f64| {
            quantile(&samples.iter().copied().map(get).collect::<Vec<_>>(), share)
        };
        let latency = |share| of(&Sample::latency_ms, share);
        let part = |get: fn(&MemberReport) -> f64| of(&|sample| mean(&sample.report, get), 0.5);
        let (compute_ms, encode_ms, wait_ms) = (
            part(|member| member.compute_ms),
            part(|member| member.encode_ms),
            part(|member| member.wait_ms),
        );
        let median = latency(0.5);
        let (rung_bits, speedup) = match cell.method {
            Method::OneDevice => (None, Some(1.0)),
            Method::Tp | Method::Bp1 | Method::Bp4 => {
                (None, alone.map(|one| one.latency_ms / median))
            }
            _ => (
                Some(cell.rung_bits),
                alone.map(|one| one.latency_ms / median),
            ),
        };
        let kernel: Option<Vec<f64>> = samples.iter().map(|s| s.kernel.map(|b| b as f64)).collect();
        Some(Self {
            preset: cell.preset,
            method: cell.method,
            devices: last.members.len(),
            tokens: last.prompt_tokens.unwrap_or_else(|| {
                let tokens = last.members.iter().map(|member| usize::from(member.tokens));
                tokens.sum()
            }),
            rung_bits,
            requests: samples.len(),
            requests_by_others: all.len() - samples.len(),
            prepare_ms: Some(of(&|sample| sample.report.prepare_ms, 0.5))
                .filter(|&time| time > 0.0),
            latency_ms_median: median,
            latency_ms_quarter: latency(0.25),
            latency_ms_three_quarters: latency(0.75),
            latency_ms_min: latency(0.0),
            latency_ms_max: latency(1.0),
            speedup_over_one_device: speedup,
            agreement: agreement(samples),
            bytes_counted: of(&|sample| counted(&sample.report) as f64, 0.5) as u64,
            input_bytes: of(&|sample| sample.report.input_bytes as f64, 0.5) as u64,
            result_bytes: of(&|sample| sample.report.result_bytes as f64, 0.5) as u64,
            bytes_kernel: kernel.map(|bytes| quantile(&bytes, 0.5) as u64),
            compute_ms,
            encode_ms,
            wait_ms,
            wait_share: wait_ms / median,
            own_share: own_share(samples, alone),
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
            note: cell.method.note(),
        })
    }
}

/// The requests of the members that answered most of them, of the later ones where as many were answered by others.
fn of_most_members(samples: &[Sample]) -> Vec<&Sample> {
    let who = |sample: &Sample| -> Vec<String> {
        let members = sample.report.members.iter();
        members.map(|member| member.name.clone()).collect()
    };
    let mut groups: Vec<(Vec<String>, Vec<&Sample>)> = Vec::new();
    for sample in samples {
        let members = who(sample);
        match groups.iter_mut().find(|(group, _)| *group == members) {
            Some((_, samples)) => samples.push(sample),
            None => groups.push((members, vec![sample])),
        }
    }
    let most = groups.into_iter().max_by_key(|(_, samples)| samples.len());
    most.map(|(_, samples)| samples).unwrap_or_default()
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
    let members = report.members.iter();
    let codes: u64 = members
        .map(|member| member.bytes_sent + member.halo_bytes)
        .sum();
    codes + report.input_bytes + report.result_bytes
}

fn members(samples: &[&Sample], last: &Report) -> Vec<MemberRow> {
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

/// Share of the processor time that was ours; `None` where it was not measured.
fn own_share(samples: &[&Sample], alone: Option<Alone>) -> Option<f64> {
    let prepare = alone.map_or(0.0, |alone| alone.beside_ms);
    let shares = samples.iter().map(|sample| {
        let busy = sample.busy?;
        let members = sample.report.members.iter();
        let in_thread: f64 = members.map(|member| member.own_ms).sum();
        let beside = (busy.beside_ms - prepare).max(0.0);
        let all = busy.computing_ms + beside;
        (all > 0.0).then(|| (in_thread + beside) / all)
    });
    let shares: Option<Vec<f64>> = shares.collect();
    shares.as_deref().map(median)
}

fn agreement(samples: &[&Sample]) -> Option<Agreement> {
    let agreements = samples.iter().map(|sample| sample.agreement);
    let top1: Vec<f64> = agreements.clone().filter_map(|one| one.top1).collect();
    let pick = |a: Option<f64>, b: Option<f64>, choose: fn(f64, f64) -> f64| match (a, b) {
        (Some(a), Some(b)) => Some(choose(a, b)),
        (found, None) | (None, found) => found,
    };
    let worst = agreements.fold(Agreement::default(), |a, b| Agreement {
        cls_cosine: pick(a.cls_cosine, b.cls_cosine, f64::min),
        patch_cosine: pick(a.patch_cosine, b.patch_cosine, f64::min),
        map_mae: pick(a.map_mae, b.map_mae, f64::max),
        map_max: pick(a.map_max, b.map_max, f64::max),
        logits_cosine: pick(a.logits_cosine, b.logits_cosine, f64::min),
        top1: None,
    });
    let known = Agreement {
        top1: (!top1.is_empty()).then(|| top1.iter().sum::<f64>() / top1.len() as f64),
        ..worst
    };
    (known != Agreement::default()).then_some(known)
}

#[cfg(test)]
mod tests;
