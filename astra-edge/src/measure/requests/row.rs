//! Requests of one kind in one row: medians, spreads, bytes, and where the time was spent.

use serde::Serialize;

use super::method::Method;
use super::sample::{OneDeviceTimes, RowKey, Sample};
use crate::measure::quantile::{median, quantile};
use crate::report::{MemberReport, Report};
use astra_model::agreement::Agreement;

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
    /// Requests that other members answered, because the coordinator chose fewer or more: they are in none of the figures.
    pub requests_by_others: usize,
    /// Median time before the latency begins: decoding and resizing the picture. `null` where it was not measured.
    pub prepare_ms: Option<f64>,
    /// Median of their latencies.
    pub latency_ms_median: f64,
    /// First quartile of their latencies.
    pub latency_ms_quarter: f64,
    /// Third quartile.
    pub latency_ms_three_quarters: f64,
    /// The fastest.
    pub latency_ms_min: f64,
    /// The slowest.
    pub latency_ms_max: f64,
    /// Median on one device over this median; absent without a one-device row.
    pub speedup_over_one_device: Option<f64>,
    /// The worst of the requests, figure by figure; of `top1` the mean. `null` where nothing can be compared.
    pub agreement: Option<Agreement>,
    /// Bytes of codes, input and results between devices, as the devices count them, median.
    pub bytes_counted: u64,
    /// Of these the input sent to other members, median.
    pub input_bytes: u64,
    /// And the results that came back from them, median.
    pub result_bytes: u64,
    /// Bytes that left the devices as the kernel counts them, headers, acknowledgements and keep-alives included, median;
    /// absent without counters.
    pub bytes_kernel: Option<u64>,
    /// Running the model.
    pub compute_ms: f64,
    /// Encoding, sending and decoding codes.
    pub encode_ms: f64,
    /// Waiting for codes of others.
    pub wait_ms: f64,
    /// The same as a share of the latency.
    pub wait_share: f64,
    /// Share of the devices' processor time spent neither in ONNX Runtime nor on preparing the input; absent where it was not
    /// measured.
    pub own_share: Option<f64>,
    /// The rest of the latency: sending input and results, the head, and members that do not start at the same time.
    pub rest_ms: f64,
    /// Member by member.
    pub members: Vec<MemberRow>,
    /// Tokens left out of attention, in the request with most of them.
    pub masked_tokens: u64,
    /// Why a device answered alone where more were requested.
    pub alone: Option<String>,
    /// A remark that belongs to these figures.
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
    /// Encoding and sending codes.
    pub encode_ms: f64,
    /// Waiting for codes of others.
    pub wait_ms: f64,
}

impl Row {
    /// Sums up requests of one kind: those that the same members answered, of the members that answered most of them. `None` where
    /// there are none.
    pub fn summarize(
        key: RowKey,
        all: &[Sample],
        one_device: Option<OneDeviceTimes>,
    ) -> Option<Self> {
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
        let speedup = match key.method {
            Method::OneDevice => Some(1.0),
            _ => one_device.map(|one| one.latency_ms / median),
        };
        let masked = samples.iter().map(|sample| sample.report.masked_tokens);
        let alone = last.alone.clone();
        let kernel: Option<Vec<f64>> = samples.iter().map(|s| s.kernel.map(|b| b as f64)).collect();
        Some(Self {
            preset: key.preset,
            method: key.method,
            devices: last.members.len(),
            tokens: input_tokens(last),
            rung_bits: key.method.has_rungs().then_some(key.rung_bits),
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
            own_share: own_share(samples, one_device),
            rest_ms: median - compute_ms - encode_ms - wait_ms,
            members: members(samples, last),
            masked_tokens: masked.max().unwrap_or(0),
            alone: alone.filter(|_| key.method != Method::OneDevice),
            note: key.method.note(),
        })
    }
}

/// The requests of those members that answered most of them; of two groups of one size, the one that came up later.
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

fn mean(report: &Report, get: fn(&MemberReport) -> f64) -> f64 {
    let sum: f64 = report.members.iter().map(get).sum();
    sum / report.members.len().max(1) as f64
}

fn input_tokens(report: &Report) -> usize {
    report.prompt_tokens.unwrap_or_else(|| {
        let members = report.members.iter();
        members.map(|member| usize::from(member.tokens)).sum()
    })
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

/// See [`Row::own_share`].
fn own_share(samples: &[&Sample], one_device: Option<OneDeviceTimes>) -> Option<f64> {
    let prepare = one_device.map_or(0.0, |one| one.other_ms);
    let shares = samples.iter().map(|sample| {
        let time = sample.processor_time?;
        let members = sample.report.members.iter();
        let in_thread: f64 = members.map(|member| member.overhead_ms).sum();
        let other = (time.other_ms - prepare).max(0.0);
        let all = time.computing_ms + other;
        (all > 0.0).then(|| (in_thread + other) / all)
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
#[path = "tests.rs"]
mod tests;
