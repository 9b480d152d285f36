//! One row of the rows that a client measured in several rounds.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use super::ratio::quantile;

/// The fields of a row.
pub(super) type Fields = Map<String, Value>;

/// How a number is made of those of all rounds.
#[derive(Clone, Copy)]
enum Rule {
    Sum,
    Mean,
    /// 0 is the smallest, 1 the largest.
    Quantile(f64),
}

/// The rule of a field: counts add up, agreement is the worst there was, all else a median.
fn rule(field: &str) -> Rule {
    match field {
        "requests" | "requests_by_others" => Rule::Sum,
        "top1" => Rule::Mean,
        "latency_ms_quarter" => Rule::Quantile(0.25),
        "latency_ms_three_quarters" => Rule::Quantile(0.75),
        "latency_ms_min" | "cls_cosine" | "patch_cosine" | "logits_cosine" => Rule::Quantile(0.0),
        "latency_ms_max" | "map_mae" | "map_max" | "masked_tokens" => Rule::Quantile(1.0),
        _ => Rule::Quantile(0.5),
    }
}

/// Merges rows of the same kind, those of rounds that had most often the same number of members: the requests of the others are
/// counted in `requests_by_others`. Returns the row and the numbers of the rounds in it.
///
/// # Errors
/// The rows are of different kinds.
pub(super) fn merge(rounds: &[Fields]) -> Result<(Fields, Vec<usize>)> {
    let kind = |row: &Fields| ["method", "rung_bits", "tokens"].map(|name| row.get(name).cloned());
    if let Some(pair) = rounds.windows(2).find(|pair| match pair {
        [a, b] => kind(a) != kind(b),
        _ => false,
    }) {
        bail!("rows of two rounds: found {pair:?}, expected the same method, rung and tokens");
    }
    let devices = |row: &Fields| row.get("devices").and_then(Value::as_u64);
    let count = |wanted| rounds.iter().filter(|row| devices(row) == wanted).count();
    let most = rounds.iter().map(devices).max_by_key(|&found| count(found));
    let (mut kept, mut others) = (Vec::new(), 0);
    for (number, row) in rounds.iter().enumerate() {
        if Some(devices(row)) == most {
            kept.push((number, row));
        } else {
            others += row.get("requests").and_then(Value::as_u64).unwrap_or(0);
        }
    }
    let values: Vec<Value> = kept
        .iter()
        .map(|(_, row)| Value::Object((*row).clone()))
        .collect();
    let Value::Object(mut merged) = value("", &values) else {
        bail!("rows: found none, expected one of each round");
    };
    if let Some(by_others) = merged.get_mut("requests_by_others") {
        *by_others = (by_others.as_u64().unwrap_or(0) + others).into();
    }
    Ok((merged, kept.into_iter().map(|(number, _)| number).collect()))
}

/// Numbers by the rule of their field, objects and arrays part by part, and the last of anything else.
fn value(field: &str, values: &[Value]) -> Value {
    let numbers: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
    match values.last() {
        Some(Value::Number(last)) if numbers.len() == values.len() => {
            number(rule(field), numbers, last.is_u64())
        }
        Some(Value::Object(last)) => {
            let part = |name: &String| {
                let parts = values.iter().filter_map(|each| each.get(name).cloned());
                (name.clone(), value(name, &parts.collect::<Vec<_>>()))
            };
            Value::Object(last.keys().map(part).collect())
        }
        Some(Value::Array(last)) => {
            let part = |at: usize| {
                let parts = values.iter().filter_map(|each| each.get(at).cloned());
                value(field, &parts.collect::<Vec<_>>())
            };
            Value::Array((0..last.len()).map(part).collect())
        }
        Some(last) => last.clone(),
        None => Value::Null,
    }
}

fn number(rule: Rule, mut numbers: Vec<f64>, whole: bool) -> Value {
    numbers.sort_by(f64::total_cmp);
    let sum: f64 = numbers.iter().sum();
    let found = match rule {
        Rule::Sum => sum,
        Rule::Mean => sum / numbers.len() as f64,
        Rule::Quantile(share) => quantile(&numbers, share),
    };
    match whole {
        true => (found.round() as u64).into(),
        false => found.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(devices: u64, latency: f64) -> Fields {
        let row = json!({
            "method": "astra", "devices": devices, "tokens": 256, "rung_bits": 160, "requests": 2, "requests_by_others": 0,
            "latency_ms_median": latency, "latency_ms_min": latency - 1.0, "latency_ms_max": latency + 1.0, "bytes_counted": 1000,
            "agreement": { "cls_cosine": 0.99 - latency / 1e4, "map_mae": 0.01, "top1": null },
            "members": [{ "name": "a", "compute_ms": latency / 2.0 }, { "name": "b", "compute_ms": 1.0 }], "alone": null,
        });
        let Value::Object(row) = row else {
            panic!("not a row")
        };
        row
    }

    #[test]
    fn a_row_sums_up_its_rounds() {
        let rounds = [row(4, 20.0), row(4, 10.0), row(4, 60.0)];
        let (merged, rounds) = merge(&rounds).unwrap();
        assert_eq!(
            Value::Object(merged),
            json!({
                "method": "astra", "devices": 4, "tokens": 256, "rung_bits": 160, "requests": 6, "requests_by_others": 0,
                "latency_ms_median": 20.0, "latency_ms_min": 9.0, "latency_ms_max": 61.0, "bytes_counted": 1000,
                "agreement": { "cls_cosine": 0.99 - 60.0 / 1e4, "map_mae": 0.01, "top1": null },
                "members": [{ "name": "a", "compute_ms": 10.0 }, { "name": "b", "compute_ms": 1.0 }], "alone": null,
            })
        );
        assert_eq!(rounds, [0, 1, 2]);
    }

    #[test]
    fn rounds_of_fewer_members_are_left_out() {
        let (merged, rounds) = merge(&[row(4, 20.0), row(3, 90.0), row(4, 30.0)]).unwrap();
        assert_eq!(merged["latency_ms_median"], 25.0);
        assert_eq!(
            (&merged["requests"], &merged["requests_by_others"]),
            (&json!(4), &json!(2))
        );
        assert_eq!(rounds, [0, 2]);
    }

    #[test]
    fn rows_of_two_kinds_are_refused() {
        let mut other = row(4, 20.0);
        other.insert("rung_bits".to_owned(), json!(320));
        assert!(merge(&[row(4, 20.0), other]).is_err());
        assert!(merge(&[]).is_err());
    }
}
