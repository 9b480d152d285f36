//! What a cluster takes on machines of its own: predicted, or measured in the lab.

use std::fmt::{self, Display, Formatter};

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// A prediction for one machine a device, each like this one. Latencies of a prompt are those of its first token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Predicted {
    pub(crate) devices: u8,
    /// Rate of each machine's link, megabits a second.
    pub(crate) mbps: f64,
    pub(crate) latency_ms: f64,
    pub(crate) one_device_latency_ms: f64,
    pub(crate) speedup: f64,
}

/// Medians measured in the lab. Latencies of a prompt are those of its first token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lab {
    /// Devices that took part.
    pub(crate) devices: u8,
    /// Cores of each.
    pub(crate) cores: f64,
    pub(crate) mbps: f64,
    pub(crate) requests: usize,
    pub(crate) latency_ms: f64,
    /// Of one such device.
    pub(crate) one_device_latency_ms: f64,
    pub(crate) speedup: f64,
    /// What the planner expects of the same devices; absent in exact mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) predicted_ms: Option<f64>,
}

/// Either of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Estimate {
    Predicted(Predicted),
    Lab(Lab),
}

impl Estimate {
    /// Its name in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Predicted(_) => "predicted",
            Self::Lab(_) => "lab",
        }
    }

    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        Ok(match self {
            Self::Predicted(predicted) => serde_json::to_value(predicted)?,
            Self::Lab(lab) => serde_json::to_value(lab)?,
        })
    }
}

impl Display for Estimate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Predicted(predicted) => write!(f, "predicted  {predicted}"),
            Self::Lab(lab) => write!(f, "lab        {lab}"),
        }
    }
}

impl Display for Predicted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            devices,
            mbps,
            latency_ms,
            one_device_latency_ms,
            speedup,
        } = self;
        write!(
            f,
            "{latency_ms:.1} ms on {devices} machines like this one, linked at {mbps} Mbps: {speedup:.2} times as fast as one \
             ({one_device_latency_ms:.1} ms)"
        )
    }
}

impl Display for Lab {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            devices,
            cores,
            mbps,
            requests,
            latency_ms,
            one_device_latency_ms,
            speedup,
            predicted_ms,
        } = self;
        write!(
            f,
            "{latency_ms:.1} ms, median of {requests}, on {devices} devices with {cores} core each, linked at {mbps} Mbps: \
             {speedup:.2} times as fast as one ({one_device_latency_ms:.1} ms)"
        )?;
        match predicted_ms {
            Some(predicted) => write!(f, "; predicted {predicted:.1} ms"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predicted() -> Estimate {
        Estimate::Predicted(Predicted {
            devices: 3,
            mbps: 100.0,
            latency_ms: 23.46,
            one_device_latency_ms: 41.26,
            speedup: 1.7587,
        })
    }

    #[test]
    fn a_prediction_says_what_it_is() {
        assert_eq!(
            predicted().to_string(),
            "predicted  23.5 ms on 3 machines like this one, linked at 100 Mbps: 1.76 times as fast as one (41.3 ms)"
        );
    }

    #[test]
    fn the_lab_says_what_each_device_had() {
        let lab = Lab {
            devices: 3,
            cores: 0.6,
            mbps: 100.0,
            requests: 9,
            latency_ms: 312.44,
            one_device_latency_ms: 550.0,
            speedup: 1.76,
            predicted_ms: Some(300.0),
        };
        assert_eq!(
            Estimate::Lab(lab.clone()).to_string(),
            "lab        312.4 ms, median of 9, on 3 devices with 0.6 core each, linked at 100 Mbps: 1.76 times as fast as one \
             (550.0 ms); predicted 300.0 ms"
        );
        let exact = Lab {
            predicted_ms: None,
            ..lab
        };
        assert!(exact.to_string().ends_with("(550.0 ms)"));
        assert!(
            !Estimate::Lab(exact)
                .json()
                .unwrap()
                .to_string()
                .contains("predicted")
        );
    }
}
