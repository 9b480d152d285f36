//! Predicts the latency of a request from the times of its steps on one device and the speed of the link.
//!
//! A request is simulated block by block: each member has a clock, which its work advances, and each link a time until which it is busy.
//! Frames of all members are sent at the same time; a shared medium carries one at a time.

mod codes;
mod head;
mod links;
mod request;
#[cfg(test)]
mod tests;

use astra_wire::LayoutError;
use serde::Serialize;

use self::request::Request;
use super::profile::Profile;
use astra_model::partition::{Costs, PartitionError, RowChunks};

/// Bytes per message besides its content: headers of Zenoh and of the first TCP packet.
const MESSAGE: f64 = 92.0;
/// Bytes on the wire per byte of a long message.
const BULK: f64 = 1.05;

/// The network between devices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Network {
    /// Megabits per second, of each device in each direction or of the shared medium.
    pub mbps: f64,
    /// Whether all devices share one medium.
    pub shared: bool,
}

/// A request whose latency is predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// Members.
    pub devices: usize,
    /// Divided tokens of the input.
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

/// A prediction in milliseconds; times of members are means over members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Prediction {
    /// From the input to the output, for a text to its first token.
    pub latency_ms: f64,
    /// The same on one device.
    pub one_device_ms: f64,
    /// Computing the model.
    pub compute_ms: f64,
    /// Codec, and sending and receiving frames.
    pub encode_ms: f64,
    /// Waiting for codes of other members.
    pub wait_ms: f64,
    /// Sending the input, collecting features, and the head.
    pub rest_ms: f64,
}

/// A request cannot be predicted.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum PredictError {
    /// The rung was not measured.
    #[error("rung: found {found}, expected one of those measured: {}", measured.iter().map(u16::to_string).collect::<Vec<_>>().join(", "))]
    Rung {
        /// The rung.
        found: u16,
        /// Rungs that were measured.
        measured: Vec<u16>,
    },
    /// The tokens cannot be divided among the members.
    #[error(transparent)]
    Plan(#[from] PartitionError),
    /// The rung was measured on another model.
    #[error(
        "rung {rung}: found codes of {found} blocks, expected {expected}, as many as the model has"
    )]
    Blocks {
        /// The rung.
        rung: u16,
        /// Blocks with codes.
        found: usize,
        /// Blocks of the model.
        expected: usize,
    },
    /// The codes of a block do not fit the wire format.
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
    let layouts = rung.codes.layouts(rung.bits)?;
    if layouts.len() != profile.shape.blocks {
        return Err(PredictError::Blocks {
            rung: rung.bits,
            found: layouts.len(),
            expected: profile.shape.blocks,
        });
    }
    let speeds = vec![1.0; case.devices];
    let costs = Costs::of(&profile.shape, rung.rank, profile.causal);
    let ranges = costs.split(case.tokens, &speeds)?;
    let request = Request {
        profile,
        rung,
        layouts: &layouts,
        ranges: &ranges,
        case,
        chunked: false,
    };
    let single = request.run();
    let chunked = RowChunks::are_worthwhile(single.wait_ms, single.latency_ms);
    let predicted = match chunked {
        true => Request { chunked, ..request }.run(),
        false => single,
    };
    Ok(Prediction {
        one_device_ms,
        ..predicted
    })
}
