//! How long a request takes, predicted from what its steps take on one device and from how fast the link is.
//!
//! A request is gone through block by block, as the members do: each has a clock, which its own work moves on, and every link
//! a time until which it is busy. Frames of all members are under way at once; a link that is shared carries one at a time.

mod answer;
mod request;
#[cfg(test)]
mod tests;
mod ways;

use astra_wire::{Layout, LayoutError};
use serde::Serialize;

use self::request::Request;
use super::profile::Profile;
use astra_model::partition::{Costs, PartitionError, RowChunks};

/// Bytes of a message beside its content: Zenoh's, and TCP's of a first packet.
const MESSAGE: f64 = 92.0;
/// Bytes of a frame's header.
const HEADER: f64 = 14.0;
/// Bytes on the wire of a long message's byte.
const BULK: f64 = 1.05;

/// What devices are connected by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Network {
    /// Megabits a second, of each device both ways or of the medium.
    pub mbps: f64,
    /// Whether all devices share one medium.
    pub shared: bool,
}

/// A request that is thought of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// Members.
    pub devices: usize,
    /// Tokens of the input, those that every member computes not counted.
    pub tokens: u16,
    /// Bits per token per block; 0 in exact mode.
    pub rung: u16,
    /// The link.
    pub network: Network,
    /// Cores of a device that computes with one thread, up to 1.
    pub cores: f64,
    /// Milliseconds of the period in which a CPU quota grants a device its share of a core; 0 where `cores` stands for a slower core
    /// that is never suspended.
    pub quota_period: f64,
}

/// What it would take. Times are in milliseconds, those of members means over members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Prediction {
    /// From input ready to answer ready, of a text to its first token.
    pub latency_ms: f64,
    /// The same of one device.
    pub one_device_ms: f64,
    /// Running the model.
    pub compute_ms: f64,
    /// The codec, and handing frames on.
    pub encode_ms: f64,
    /// Waiting for codes of others.
    pub wait_ms: f64,
    /// Input out, features back, and the head.
    pub rest_ms: f64,
}

/// Why there is no prediction.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum PredictError {
    /// The rung was not measured.
    #[error("rung: found {found}, expected one of those measured: {}", measured.iter().map(u16::to_string).collect::<Vec<_>>().join(", "))]
    Rung {
        /// Rung asked for.
        found: u16,
        /// Those there are.
        measured: Vec<u16>,
    },
    /// The tokens cannot be divided among so many.
    #[error(transparent)]
    Plan(#[from] PartitionError),
    /// The rung does not fit the wire.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Predicts a request.
///
/// # Errors
/// The rung was not measured, or there are more members than tokens.
pub fn predict(profile: &Profile, case: &Case) -> Result<Prediction, PredictError> {
    let all = usize::from(case.tokens)
        + if profile.causal {
            profile.shape.class_tokens
        } else {
            0
        };
    let one_device_ms = profile.whole.at(all) / case.cores;
    if case.devices < 2 {
        return Ok(Prediction {
            latency_ms: one_device_ms,
            one_device_ms,
            compute_ms: one_device_ms,
            ..Prediction::default()
        });
    }
    let rung = profile.rungs.iter().find(|rung| rung.bits == case.rung);
    let rung = rung.ok_or_else(|| PredictError::Rung {
        found: case.rung,
        measured: profile.rungs.iter().map(|rung| rung.bits).collect(),
    })?;
    let speeds = vec![1.0; case.devices];
    let costs = Costs::of(&profile.shape, rung.rank, profile.causal);
    let ranges = costs.split(case.tokens, &speeds)?;
    let request = Request {
        profile,
        rung,
        layout: Layout::new(rung.codes, rung.code_bits)?,
        ranges: &ranges,
        case,
        divided: false,
    };
    let in_one = request.run();
    let divided = RowChunks::are_worthwhile(in_one.wait_ms, in_one.latency_ms);
    let predicted = match divided {
        true => Request { divided, ..request }.run(),
        false => in_one,
    };
    Ok(Prediction {
        one_device_ms,
        ..predicted
    })
}
