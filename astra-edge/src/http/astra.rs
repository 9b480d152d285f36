//! The field `astra`: options of a request for the cluster, and statistics in its response.

use std::time::Duration;

use astra_bundle::Agreement as Measured;
use astra_wire::RequestOptions;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::cluster::request::client_handle::ClientHandle;
use crate::cluster::request::context::RequestContext;
use crate::config::{Rung, parse_duration};
use crate::report::{MemberReport, Range, Report};

/// Options of a request for the cluster, and of sampling beyond OpenAI's parameters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Options {
    /// Bits per token per block, or `exact`.
    rung: Option<Rung>,
    /// Tokens of each member, in the order of their names.
    ranges: Option<Vec<u16>>,
    /// Compute on the receiving device alone.
    #[serde(deserialize_with = "or_default")]
    alone: bool,
    /// Time until the answer, of a text its first token, is due: `5s`, `800ms`.
    #[serde(deserialize_with = "duration")]
    deadline: Option<Duration>,
    /// Most members; 0 for the device's own limit.
    #[serde(deserialize_with = "or_default")]
    max_members: u8,
    /// See [`SamplingParams::top_k`](crate::generation::SamplingParams::top_k).
    pub(super) top_k: Option<u32>,
    /// See [`SamplingParams::repetition_penalty`](crate::generation::SamplingParams::repetition_penalty).
    pub(super) repetition_penalty: Option<f32>,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_duration(&text).map_err(D::Error::custom))
        .transpose()
}

/// `null` for what was not given.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Options {
    /// The same for the coordinator.
    pub(super) fn context(&self, client: ClientHandle) -> RequestContext {
        let deadline = self.deadline.unwrap_or_default();
        RequestContext {
            options: RequestOptions {
                rung: self.rung.map(|rung| rung.0),
                local: self.alone,
                compare: false,
                // Bounded when it was read.
                deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
                max_members: self.max_members,
            },
            tokens_per_member: self.ranges.clone(),
            client,
        }
    }

    /// Refuses what only a generation has.
    pub(super) fn check_no_sampling(&self) -> Result<(), ApiError> {
        let refuse = |name| ApiError::unsupported(name, "nothing is sampled here");
        match (self.top_k, self.repetition_penalty) {
            (Some(_), _) => Err(refuse("astra.top_k")),
            (_, Some(_)) => Err(refuse("astra.repetition_penalty")),
            _ => Ok(()),
        }
    }
}

/// Statistics of a request, the field `astra` of its response.
#[derive(Debug, Serialize)]
pub(super) struct RequestStats<'a> {
    /// Device that coordinated.
    coordinator: &'a str,
    rung: RungName,
    agreement: Agreement<'a>,
    members: &'a [MemberReport],
    timings: Timings,
    bytes: Bytes,
    /// Tokens that the answer was made without.
    missing: &'a [Range],
    /// Why one device answered alone.
    alone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reused_tokens: Option<usize>,
}

/// Bits per token per block, or `exact`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum RungName {
    Bits(u16),
    Exact(&'static str),
}

/// How close the answer is to the one-device answer.
#[derive(Debug, Serialize)]
struct Agreement<'a> {
    class: Class,
    /// What was measured of the rung at export, for the number of devices closest to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<&'a Measured>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Class {
    /// One device, or float32 between several: the same but for the rounding.
    Exact,
    /// Codes between members, all of which came.
    Coded,
    /// Something did not come in time, and was left out.
    Partial,
}

#[derive(Debug, Serialize)]
struct Timings {
    prepare_ms: f64,
    setup_ms: f64,
    latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefill_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_second: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Bytes {
    /// Of input to other members.
    input: u64,
    /// Of code frames between members, once for each receiver.
    frames: u64,
    /// Of what came back.
    result: u64,
}

impl<'a> RequestStats<'a> {
    /// The statistics in `report`.
    pub(super) fn of(report: &'a Report) -> Self {
        Self {
            coordinator: &report.coordinator,
            rung: match report.rung_bits {
                0 => RungName::Exact("exact"),
                bits => RungName::Bits(bits),
            },
            agreement: agreement(report),
            members: &report.members,
            timings: Timings {
                prepare_ms: report.prepare_ms,
                setup_ms: report.setup_ms,
                latency_ms: report.latency_ms,
                prefill_ms: report.prefill_ms,
                decode_ms: report.decode_ms,
                tokens_per_second: report.tokens_per_second,
            },
            bytes: Bytes {
                input: report.input_bytes,
                frames: report.members.iter().map(|member| member.bytes_sent).sum(),
                result: report.result_bytes,
            },
            missing: &report.missing,
            alone: report.alone.as_deref(),
            reused_tokens: report.reused_tokens,
        }
    }

    /// The same as JSON.
    pub(super) fn value(&self) -> serde_json::Value {
        // Plain structs of numbers and strings: nothing in them cannot be written.
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn agreement(report: &Report) -> Agreement<'_> {
    let coded = report.rung_bits != 0 && report.members.len() > 1;
    let class = if report.masked_tokens > 0 || !report.missing.is_empty() {
        Class::Partial
    } else if coded {
        Class::Coded
    } else {
        Class::Exact
    };
    let measured = report.measured.as_ref();
    Agreement { class, measured }
}
