//! Rows as the benches write them, as far as plots and the table need them.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Requests of one kind on one link.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    pub(super) bench: String,
    /// `this` or `other`, where two builds were measured in turns.
    #[serde(default)]
    pub(super) build: Option<String>,
    pub(super) preset: String,
    pub(super) mbps: f64,
    pub(super) method: String,
    pub(super) devices: usize,
    pub(super) tokens: usize,
    pub(super) rung_bits: Option<u32>,
    #[serde(default)]
    pub(super) prepare_ms: Option<f64>,
    pub(super) latency_ms_median: f64,
    pub(super) speedup_over_one_device: Option<f64>,
    pub(super) agreement: Option<Agreement>,
    pub(super) bytes_counted: u64,
    pub(super) bytes_kernel: Option<u64>,
    pub(super) compute_ms: f64,
    pub(super) encode_ms: f64,
    pub(super) wait_ms: f64,
    pub(super) rest_ms: f64,
    #[serde(default)]
    pub(super) own_share: Option<f64>,
    #[serde(default)]
    pub(super) alone: Option<String>,
    /// What `astra-edge plan` expects.
    #[serde(default)]
    pub(super) predicted_ms: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Agreement {
    pub(super) cls_cosine: Option<f64>,
    pub(super) top1: Option<f64>,
}

impl Row {
    pub(super) fn is_one_device(&self) -> bool {
        self.method == "one-device"
    }

    /// `astra, 160 bits`.
    pub(super) fn method_and_rung(&self) -> String {
        let name = match self.rung_bits {
            Some(bits) if self.method == "astra" => format!("astra, {bits} bits"),
            _ => self.method.clone(),
        };
        match self.build.as_deref() {
            Some("other") => format!("{name}, other build"),
            _ => name,
        }
    }

    /// The model: the bench without its size.
    pub(super) fn model(&self) -> &str {
        self.bench
            .rsplit_once('-')
            .map_or(&self.bench, |(model, _)| model)
    }

    /// Error of the prediction, as a share of the measured latency.
    pub(super) fn error(&self) -> Option<f64> {
        let predicted = self.predicted_ms?;
        Some((predicted - self.latency_ms_median) / self.latency_ms_median)
    }
}

/// Reads the rows of a file.
pub(super) fn read(file: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

/// Most devices of any row: plots over something else show these rows.
pub(super) fn most_devices(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.devices).max().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Rows of one device and of four, on two links.
    pub(in crate::bench_report) fn rows() -> serde_json::Value {
        let row = |preset: &str, mbps, method: &str, devices, bits, latency: f64| {
            let alone = method == "one-device";
            serde_json::json!({
                "bench": "vit-518", "preset": preset, "mbps": mbps, "method": method, "devices": devices, "tokens": 1369,
                "rung_bits": bits, "latency_ms_median": latency, "speedup_over_one_device": 2000.0 / latency,
                "agreement": { "cls_cosine": 0.97 }, "bytes_counted": 1000, "bytes_kernel": 1200,
                "compute_ms": if alone { latency } else { 600.0 }, "encode_ms": if alone { 0.0 } else { 20.0 },
                "wait_ms": if alone { 0.0 } else { latency - 720.0 }, "rest_ms": if alone { 0.0 } else { 100.0 },
                "predicted_ms": latency * 1.05,
            })
        };
        serde_json::json!([
            row("wifi-10", 10.0, "one-device", 1, None::<u32>, 2000.0),
            row("wifi-10", 10.0, "astra", 4, Some(160), 800.0),
            row("wifi-10", 10.0, "astra", 2, Some(160), 1200.0),
            row("wifi-100", 100.0, "astra", 4, Some(160), 725.0),
            row("wifi-10", 10.0, "sp-f32", 4, Some(0), 16000.0),
        ])
    }

    #[test]
    fn rows_are_named_by_method_and_rung() {
        let rows: Vec<Row> = serde_json::from_value(rows()).unwrap();
        let names: Vec<String> = rows.iter().map(Row::method_and_rung).collect();
        assert_eq!(
            names,
            [
                "one-device",
                "astra, 160 bits",
                "astra, 160 bits",
                "astra, 160 bits",
                "sp-f32"
            ]
        );
        assert_eq!((rows[0].model(), most_devices(&rows)), ("vit", 4));
        assert!((rows[1].error().unwrap() - 0.05).abs() < 1e-9);
        let other = Row {
            build: Some("other".to_owned()),
            ..rows[1].clone()
        };
        assert_eq!(other.method_and_rung(), "astra, 160 bits, other build");
    }

    #[test]
    fn a_file_that_holds_something_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.json");
        std::fs::write(&file, "[{}]").unwrap();
        let error = format!("{:#}", read(&file).unwrap_err());
        assert!(error.contains("rows.json: missing field"), "{error}");
    }
}
