//! What a request through the cluster took, for people and for programs.

mod estimate;

use std::fmt::{self, Display, Formatter};

use astra_report::table;
use serde::{Deserialize, Serialize};

pub(crate) use estimate::{Estimate, Lab, Predicted};

/// The answer of `astra-edge infer --compare --json` as far as the demo prints it, and what the demo adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Bits per token per block; absent or 0 in exact mode.
    #[serde(default)]
    pub(crate) rung_bits: Option<u32>,
    pub(crate) latency_ms: f64,
    pub(crate) one_device_latency_ms: f64,
    pub(crate) agreement: Agreement,
    /// What the exporter measured of the rung.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) measured: Option<astra_bundle::Agreement>,
    pub(crate) members: Vec<Member>,
    pub(crate) picture: String,
    /// The same cluster on machines of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) predicted: Option<Predicted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lab: Option<Lab>,
}

/// How close the answer is to the one-device answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Agreement {
    pub(crate) cls_cosine: f64,
    pub(crate) map_mae: f64,
}

/// What one member did for the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) first_token: usize,
    pub(crate) tokens: usize,
    pub(crate) compute_ms: f64,
    pub(crate) encode_ms: f64,
    pub(crate) wait_ms: f64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

const HEADINGS: [&str; 7] = [
    "member",
    "token range",
    "compute ms",
    "encode ms",
    "wait ms",
    "bytes sent",
    "bytes received",
];

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(self.members.iter().map(Member::cells));
        table(f, &rows)?;
        writeln!(f)?;
        match self.rung_bits {
            None | Some(0) => writeln!(f, "rung       exact mode")?,
            Some(bits) => {
                write!(f, "rung       {bits} bits per token per block")?;
                match self.measured.and_then(|measured| measured.summary()) {
                    Some(measured) => writeln!(f, ", measured {measured}")?,
                    None => writeln!(f)?,
                }
            }
        }
        writeln!(
            f,
            "latency    {:.1} ms, on one device {:.1} ms",
            self.latency_ms, self.one_device_latency_ms
        )?;
        if let Some(predicted) = &self.predicted {
            writeln!(f, "predicted  {predicted}")?;
        }
        if let Some(lab) = &self.lab {
            writeln!(f, "lab        {lab}")?;
        }
        writeln!(
            f,
            "agreement  CLS cosine {:.4}, saliency map mean absolute error {:.4}",
            self.agreement.cls_cosine, self.agreement.map_mae
        )?;
        writeln!(f, "picture    {}", self.picture)
    }
}

impl Member {
    fn cells(&self) -> [String; HEADINGS.len()] {
        let last = self
            .first_token
            .saturating_add(self.tokens)
            .saturating_sub(1);
        [
            self.name.clone(),
            format!("{}-{last} ({})", self.first_token, self.tokens),
            format!("{:.2}", self.compute_ms),
            format!("{:.2}", self.encode_ms),
            format!("{:.2}", self.wait_ms),
            self.bytes_sent.to_string(),
            self.bytes_received.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{
        "request": 7, "rung_bits": 320, "latency_ms": 41.26, "one_device_latency_ms": 90.5,
        "agreement": {"cls_cosine": 0.99321, "map_mae": 0.00312, "map_max": 0.1},
        "members": [
            {"name": "device-1", "first_token": 0, "tokens": 86, "compute_ms": 30.125, "encode_ms": 0.5,
             "wait_ms": 8.0, "bytes_sent": 123456, "bytes_received": 98765, "masked": 0},
            {"name": "device-10", "first_token": 86, "tokens": 170, "compute_ms": 3.0, "encode_ms": 0.25,
             "wait_ms": 18.0, "bytes_sent": 1, "bytes_received": 2}
        ],
        "picture": "/p/coffee-saliency.png"
    }"#;

    #[test]
    fn json_has_the_promised_fields_in_order_and_no_others() {
        let report: Report = serde_json::from_str(ANSWER).unwrap();
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            concat!(
                r#"{"rung_bits":320,"latency_ms":41.26,"one_device_latency_ms":90.5,"#,
                r#""agreement":{"cls_cosine":0.99321,"map_mae":0.00312},"members":["#,
                r#"{"name":"device-1","first_token":0,"tokens":86,"compute_ms":30.125,"encode_ms":0.5,"#,
                r#""wait_ms":8.0,"bytes_sent":123456,"bytes_received":98765},"#,
                r#"{"name":"device-10","first_token":86,"tokens":170,"compute_ms":3.0,"encode_ms":0.25,"#,
                r#""wait_ms":18.0,"bytes_sent":1,"bytes_received":2}],"#,
                r#""picture":"/p/coffee-saliency.png"}"#,
            )
        );
    }

    #[test]
    fn a_missing_field_is_named() {
        let answer = ANSWER.replace("\"latency_ms\"", "\"latency\"");
        let error = serde_json::from_str::<Report>(&answer)
            .unwrap_err()
            .to_string();
        assert!(error.contains("missing field `latency_ms`"), "{error}");
    }

    #[test]
    fn people_get_a_table() {
        let report: Report = serde_json::from_str(ANSWER).unwrap();
        let expected = "\
member      token range  compute ms  encode ms  wait ms  bytes sent  bytes received
device-1      0-85 (86)       30.12       0.50     8.00      123456           98765
device-10  86-255 (170)        3.00       0.25    18.00           1               2

rung       320 bits per token per block
latency    41.3 ms, on one device 90.5 ms
agreement  CLS cosine 0.9932, saliency map mean absolute error 0.0031
picture    /p/coffee-saliency.png
";
        assert_eq!(report.to_string(), expected);
        let predicted = Report {
            predicted: Some(Predicted {
                devices: 2,
                mbps: 100.0,
                latency_ms: 50.0,
                one_device_latency_ms: 90.0,
                speedup: 1.8,
            }),
            ..report.clone()
        };
        let line = "predicted  50.0 ms on 2 machines like this one, linked at 100 Mbps: 1.80 times as fast as one (90.0 ms)";
        assert!(predicted.to_string().contains(line), "{predicted}");
        let measured = r#""measured": {"devices": 4, "inputs": 15, "quality":
            {"measure": "cls_cosine", "mean": 0.9921, "low": 0.9903, "high": 0.9938}}, "members""#;
        let answer = ANSWER.replace("\"members\"", measured);
        let measured: Report = serde_json::from_str(&answer).unwrap();
        let line = "rung       320 bits per token per block, measured class token cosine 0.9921 (0.9903 to 0.9938, 15 inputs, 4 devices)\n";
        assert!(measured.to_string().contains(line), "{measured}");
        let exact = Report {
            rung_bits: None,
            ..report
        };
        assert!(exact.to_string().contains("rung       exact mode\n"));
    }
}
