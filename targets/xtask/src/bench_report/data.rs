//! Rows as the benches write them, as far as plots need them.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// One kind of request on one link.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    pub(super) bench: String,
    pub(super) preset: String,
    pub(super) mbps: f64,
    pub(super) method: String,
    pub(super) devices: usize,
    pub(super) rung_bits: Option<u32>,
    pub(super) latency_ms_median: f64,
    pub(super) speedup_over_one_device: Option<f64>,
    pub(super) compute_ms: f64,
    pub(super) encode_ms: f64,
    pub(super) wait_ms: f64,
    pub(super) rest_ms: f64,
}

impl Row {
    pub(super) fn is_one_device(&self) -> bool {
        self.method == "one-device"
    }

    /// `astra, 160 bits, 4 devices`.
    pub(super) fn series(&self) -> String {
        match self.rung_bits {
            None => self.method.clone(),
            Some(0) => format!("{}, {} devices", self.method, self.devices),
            Some(bits) => format!("{}, {bits} bits, {} devices", self.method, self.devices),
        }
    }
}

/// Reads the rows of a file.
pub(super) fn read(file: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench_report) const ROWS: &str = r#"[
        {"bench":"vit-518","preset":"wifi-10","mbps":10.0,"method":"one-device","devices":1,"rung_bits":null,
         "latency_ms_median":2000.0,"speedup_over_one_device":1.0,
         "compute_ms":2000.0,"encode_ms":0.0,"wait_ms":0.0,"rest_ms":0.0,"members":[]},
        {"bench":"vit-518","preset":"wifi-10","mbps":10.0,"method":"astra","devices":4,"rung_bits":160,
         "latency_ms_median":800.0,"speedup_over_one_device":2.5,
         "compute_ms":600.0,"encode_ms":20.0,"wait_ms":80.0,"rest_ms":100.0,"members":[]},
        {"bench":"vit-518","preset":"wifi-100","mbps":100.0,"method":"astra","devices":4,"rung_bits":160,
         "latency_ms_median":700.0,"speedup_over_one_device":2.86,
         "compute_ms":600.0,"encode_ms":20.0,"wait_ms":40.0,"rest_ms":40.0,"members":[]},
        {"bench":"vit-518","preset":"wifi-10","mbps":10.0,"method":"sp-f32","devices":4,"rung_bits":0,
         "latency_ms_median":15000.0,"speedup_over_one_device":0.13,
         "compute_ms":600.0,"encode_ms":20.0,"wait_ms":14000.0,"rest_ms":380.0,"members":[]}
    ]"#;

    #[test]
    fn rows_are_named_by_what_tells_them_apart() {
        let rows: Vec<Row> = serde_json::from_str(ROWS).unwrap();
        let names: Vec<String> = rows.iter().map(Row::series).collect();
        assert_eq!(
            names,
            [
                "one-device",
                "astra, 160 bits, 4 devices",
                "astra, 160 bits, 4 devices",
                "sp-f32, 4 devices"
            ]
        );
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
