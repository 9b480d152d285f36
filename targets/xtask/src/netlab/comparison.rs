//! Two builds that were measured in turns: rounds, their rows side by side, and a table.

use anyhow::{Result, bail};
use astra_report::table as write_table;

use super::builds::Name;
use super::merge::{Fields, merge};
use super::ratio::Ratio;
use super::rows::{Conditions, Row};

/// Requests of each round that add up to `repeat`, at most `round` in one.
pub(super) fn rounds(repeat: usize, round: usize) -> Vec<usize> {
    let round = round.max(1);
    let full = std::iter::repeat_n(round, repeat / round);
    let rest = Some(repeat % round).filter(|rest| *rest > 0);
    full.chain(rest).collect()
}

/// The rows of both builds, each of this one's with its ratio to the other's. `measured` are the rows of every round, of this build
/// and of the other.
///
/// # Errors
/// The builds, or two rounds, measured other kinds of requests.
pub(super) fn rows(
    conditions: &[Conditions; 2],
    measured: &[Vec<Vec<Fields>>; 2],
) -> Result<Vec<Row>> {
    let [this, other] = measured;
    let mut all = this.iter().chain(other).map(Vec::len);
    let kinds = all.next().unwrap_or(0);
    if let Some(found) = all.find(|found| *found != kinds) {
        bail!("rows of a round: found {found}, expected {kinds} as in the first round");
    }
    let mut rows = Vec::new();
    for kind in 0..kinds {
        let of = |rounds: &[Vec<Fields>]| {
            let rows = rounds.iter().filter_map(|rows| rows.get(kind).cloned());
            rows.collect::<Vec<Fields>>()
        };
        let (this, other) = (of(this), of(other));
        let ((mut merged, kept), (merged_other, kept_other)) = (merge(&this)?, merge(&other)?);
        let latency = |rounds: &[Fields], round: usize| {
            let latency = rounds.get(round)?.get("latency_ms_median")?;
            latency.as_f64()
        };
        let both = kept.into_iter().filter(|round| kept_other.contains(round));
        let pairs: Vec<(f64, f64)> = both
            .filter_map(|round| latency(&this, round).zip(latency(&other, round)))
            .collect();
        if let Some(ratio) = Ratio::of(&pairs) {
            merged.insert("ratio".to_owned(), serde_json::to_value(ratio)?);
        }
        let [of_this, of_other] = conditions;
        rows.push(Row::new(of_this, merged));
        rows.push(Row::new(of_other, merged_other));
    }
    Ok(rows)
}

const HEADINGS: [&str; 10] = [
    "bench", "link", "method", "devices", "tokens", "bits", "this ms", "other ms", "ratio",
    "interval",
];

/// The latencies of both builds and their ratios, from rows as [`rows`] returns them.
pub(super) fn table(rows: &[Row]) -> String {
    let mut cells = vec![HEADINGS.map(str::to_owned)];
    let mut confidence = None;
    for pair in rows.chunks(2) {
        let [this, other] = pair else { continue };
        if this.build() != Some(Name::This) {
            continue;
        }
        let ratio = |part: &str| this.number(&["ratio", part]);
        let figure = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let both = |name: &str| {
            let [this, other] = [this, other].map(|row| figure(row.number(&[name]), 0));
            match this == other {
                true => this,
                false => format!("{this}/{other}"),
            }
        };
        confidence = confidence.or(ratio("confidence").zip(ratio("rounds")));
        cells.push([
            this.bench().to_owned(),
            this.text("preset"),
            this.text("method"),
            both("devices"),
            both("tokens"),
            figure(this.number(&["rung_bits"]), 0),
            figure(this.number(&["latency_ms_median"]), 1),
            figure(other.number(&["latency_ms_median"]), 1),
            figure(ratio("median"), 3),
            format!("{}-{}", figure(ratio("low"), 3), figure(ratio("high"), 3)),
        ]);
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_table(&mut text, &cells);
    if let Some((confidence, rounds)) = confidence {
        text.push_str(&format!(
            "\nratio: median of {rounds} rounds, latency of this build by that of the other in the same round; the interval contains \
             the true median with a probability of {:.0} %\n",
            confidence * 100.0
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(method: &str, devices: u64, latency: f64) -> Fields {
        let bits = (method == "astra").then_some(320);
        let row = json!({
            "preset": "wifi-100", "method": method, "devices": devices, "tokens": 256, "rung_bits": bits, "requests": 1,
            "requests_by_others": 0, "latency_ms_median": latency,
        });
        match row {
            Value::Object(row) => row,
            _ => panic!("not a row"),
        }
    }

    fn conditions() -> [Conditions; 2] {
        [Name::This, Name::Other].map(|build| Conditions {
            build: Some(build),
            bench: "vit-224".to_owned(),
            mbps: 100.0,
            loss_percent: 0.0,
            shared_medium: false,
            cores: Some(0.45),
        })
    }

    /// Three rounds on a machine that gets slower; this build takes half of the time on one device, and as long in a cluster.
    fn measured() -> [Vec<Vec<Fields>>; 2] {
        let round = |slower: f64, one_device: f64| {
            vec![
                fields("one-device", 1, slower * one_device),
                fields("astra", 4, slower * 100.0),
            ]
        };
        let rounds = |one_device| [1.0, 1.5, 2.0].map(|slower| round(slower, one_device));
        [rounds(150.0).into(), rounds(300.0).into()]
    }

    #[test]
    fn requests_are_dealt_out_to_rounds() {
        assert_eq!(rounds(9, 1), [1; 9]);
        assert_eq!(rounds(9, 4), [4, 4, 1]);
        assert_eq!(rounds(3, 9), [3]);
        assert_eq!(rounds(2, 0), [1, 1]);
        assert!(rounds(0, 1).is_empty());
    }

    #[test]
    fn rows_of_both_builds_stand_side_by_side() {
        let rows = rows(&conditions(), &measured()).unwrap();
        let builds: Vec<_> = rows.iter().map(Row::build).collect();
        let (this, other) = (Some(Name::This), Some(Name::Other));
        assert_eq!(builds, [this, other, this, other]);
        let json = serde_json::to_value(&rows).unwrap();
        assert_eq!(
            (&json[0]["build"], &json[1]["build"]),
            (&json!("this"), &json!("other"))
        );
        assert_eq!(json[0]["latency_ms_median"], 225.0);
        assert_eq!(json[1]["latency_ms_median"], 450.0);
        assert_eq!(
            json[0]["ratio"],
            json!({ "median": 0.5, "low": 0.5, "high": 0.5, "confidence": 0.75, "rounds": 3 })
        );
        assert_eq!(json[2]["ratio"]["median"], 1.0);
        assert_eq!(json[1].get("ratio"), None);
        assert_eq!(
            table(&rows),
            "\
bench        link      method  devices  tokens  bits  this ms  other ms  ratio     interval
vit-224  wifi-100  one-device        1     256     -    225.0     450.0  0.500  0.500-0.500
vit-224  wifi-100       astra        4     256   320    150.0     150.0  1.000  1.000-1.000

ratio: median of 3 rounds, latency of this build by that of the other in the same round; the interval contains the true median with \
a probability of 75 %
"
        );
    }

    #[test]
    fn builds_that_measure_other_rows_are_refused() {
        let [this, mut other] = measured();
        other[1].pop();
        let error = rows(&conditions(), &[this, other]).unwrap_err().to_string();
        assert_eq!(
            error,
            "rows of a round: found 1, expected 2 as in the first round"
        );
    }
}
