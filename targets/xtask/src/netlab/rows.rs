//! What was measured: the rows of `astra-edge bench`, and under which conditions they came about.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// What the client that measures does not know.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Conditions {
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
    measured: Map<String, Value>,
}

impl Row {
    /// Devices, tokens and rung of a row that can be predicted: one of divided tokens.
    pub(crate) fn case(&self) -> Option<(u64, u64, String)> {
        let field = |name: &str| self.measured.get(name);
        let number = |name: &str| field(name).and_then(Value::as_u64);
        let method = field("method").and_then(Value::as_str);
        let divided = method == Some("astra") && number("devices")? > 1;
        let rung = number("rung_bits").filter(|_| divided)?;
        Some((number("devices")?, number("tokens")?, rung.to_string()))
    }

    /// Enters what was predicted.
    pub(crate) fn predict(&mut self, latency_ms: f64) {
        self.measured
            .insert("predicted_ms".to_owned(), latency_ms.into());
    }

    /// Tokens and milliseconds of a row of one device.
    pub(crate) fn one_device(&self) -> Option<(u64, f64)> {
        let field = |name: &str| self.measured.get(name);
        let method = field("method").and_then(Value::as_str);
        let tokens = field("tokens").and_then(Value::as_u64)?;
        let latency = field("latency_ms_median").and_then(Value::as_f64)?;
        (method == Some("one-device")).then_some((tokens, latency))
    }
}

/// Reads the rows that a bench wrote into a file.
pub(crate) fn read(file: &Path, conditions: &Conditions) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    parse(&text, conditions).with_context(|| file.display().to_string())
}

fn parse(text: &str, conditions: &Conditions) -> Result<Vec<Row>> {
    let measured: Vec<Map<String, Value>> = serde_json::from_str(text)?;
    let rows = measured.into_iter().map(|measured| Row {
        conditions: conditions.clone(),
        measured,
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_under_which_conditions_they_came_about() {
        let conditions = Conditions {
            bench: "vit-518".to_owned(),
            mbps: 10.0,
            loss_percent: 0.0,
            shared_medium: false,
            cores: Some(0.45),
        };
        let rows = parse(
            r#"[{"preset":"wifi-10","method":"one-device","tokens":256,"latency_ms_median":12.5}]"#,
            &conditions,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_value(&rows).unwrap(),
            serde_json::json!([{
                "bench": "vit-518", "mbps": 10.0, "loss_percent": 0.0, "shared_medium": false,
                "cores": 0.45, "preset": "wifi-10", "method": "one-device", "tokens": 256,
                "latency_ms_median": 12.5,
            }])
        );
        assert_eq!(rows[0].one_device(), Some((256, 12.5)));
        assert_eq!(rows[0].case(), None);
        assert!(parse("{}", &conditions).is_err());
    }
}
