//! What was measured: rows of `astra-edge bench`, and the conditions they were measured under.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::builds::Name;
use super::merge::Fields;

/// What the client that measures does not know.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Conditions {
    /// Of two builds, the one that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) build: Option<Name>,
    pub(crate) bench: String,
    pub(crate) mbps: f64,
    pub(crate) loss_percent: f64,
    pub(crate) shared_medium: bool,
    /// Of each device; `null` for all there are.
    pub(crate) cores: Option<f64>,
}

/// One measured row with its conditions.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    conditions: Conditions,
    #[serde(flatten)]
    measured: Fields,
}

impl Row {
    pub(super) fn new(conditions: &Conditions, measured: Fields) -> Self {
        Self {
            conditions: conditions.clone(),
            measured,
        }
    }

    pub(super) fn build(&self) -> Option<Name> {
        self.conditions.build
    }

    pub(super) fn bench(&self) -> &str {
        &self.conditions.bench
    }

    /// The number at a path of field names.
    pub(crate) fn number(&self, path: &[&str]) -> Option<f64> {
        let (first, rest) = path.split_first()?;
        let value = self.measured.get(*first)?;
        let value = rest.iter().try_fold(value, |value, name| value.get(name));
        value.and_then(Value::as_f64)
    }

    /// The text of a field; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        let text = self.measured.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    /// Devices, tokens and rung of a row that this build's planner can predict: one of a cluster that exchanged codes.
    pub(super) fn case(&self) -> Option<(u64, u64, String)> {
        let number = |name: &str| self.measured.get(name).and_then(Value::as_u64);
        let exchanged = self.text("method") == "astra" && number("devices")? > 1;
        let ours = self.conditions.build != Some(Name::Other);
        let rung = number("rung_bits").filter(|_| exchanged && ours)?;
        Some((number("devices")?, number("tokens")?, rung.to_string()))
    }

    /// Adds a prediction.
    pub(super) fn predict(&mut self, latency_ms: f64) {
        self.measured
            .insert("predicted_ms".to_owned(), latency_ms.into());
    }
}

/// Tokens and milliseconds of a row of one device.
pub(super) fn one_device(measured: &Fields) -> Option<(u64, f64)> {
    let method = measured.get("method").and_then(Value::as_str);
    let tokens = measured.get("tokens").and_then(Value::as_u64)?;
    let latency = measured.get("latency_ms_median").and_then(Value::as_f64)?;
    (method == Some("one-device")).then_some((tokens, latency))
}

/// Reads the rows that a client or a baseline wrote into a file.
pub(super) fn read(file: &Path) -> Result<Vec<Fields>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_under_which_conditions_they_were_measured() {
        let conditions = Conditions {
            build: None,
            bench: "vit-518".to_owned(),
            mbps: 10.0,
            loss_percent: 0.0,
            shared_medium: false,
            cores: Some(0.45),
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.json");
        let text =
            r#"[{"preset":"wifi-10","method":"one-device","tokens":256,"latency_ms_median":12.5}]"#;
        std::fs::write(&file, text).unwrap();
        let measured = read(&file).unwrap();
        assert_eq!(one_device(&measured[0]), Some((256, 12.5)));
        let row = |fields: &Fields| Row::new(&conditions, fields.clone());
        let rows: Vec<Row> = measured.iter().map(row).collect();
        assert_eq!(
            serde_json::to_value(&rows).unwrap(),
            serde_json::json!([{
                "bench": "vit-518", "mbps": 10.0, "loss_percent": 0.0, "shared_medium": false,
                "cores": 0.45, "preset": "wifi-10", "method": "one-device", "tokens": 256,
                "latency_ms_median": 12.5,
            }])
        );
        assert_eq!(rows[0].case(), None);
        assert_eq!(rows[0].number(&["latency_ms_median"]), Some(12.5));
        std::fs::write(&file, "{}").unwrap();
        assert!(read(&file).is_err());
    }
}
