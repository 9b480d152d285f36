//! All rows as a table in Markdown, measured and predicted latencies side by side.

use std::fmt::Write;

use super::data::Row;

const HEADINGS: [&str; 14] = [
    "bench",
    "link",
    "method",
    "devices",
    "tokens",
    "prepare ms",
    "ms",
    "speedup",
    "agreement",
    "bytes",
    "by kernel",
    "our share",
    "predicted ms",
    "error",
];

/// The table, and the errors of predictions.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    line(&mut text, HEADINGS.map(str::to_owned));
    line(&mut text, HEADINGS.map(|_| "---".to_owned()));
    for row in rows {
        line(&mut text, cells(row));
    }
    if let Some((median, worst)) = errors(rows) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\nError of predictions: median {:.1} %, largest {:.1} %.",
            median * 100.0,
            worst * 100.0
        );
    }
    text
}

/// Median and largest of the predictions' absolute errors.
pub(super) fn errors(rows: &[Row]) -> Option<(f64, f64)> {
    let mut errors: Vec<f64> = rows.iter().filter_map(Row::error).map(f64::abs).collect();
    errors.sort_by(f64::total_cmp);
    let median = errors.get(errors.len().saturating_sub(1) / 2)?;
    Some((*median, *errors.last()?))
}

fn line(text: &mut String, cells: [String; HEADINGS.len()]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn cells(row: &Row) -> [String; HEADINGS.len()] {
    let known = |value: Option<String>| value.unwrap_or_default();
    let agreement = row.agreement.and_then(|agreement| {
        let cosine = agreement.cls_cosine.map(|cosine| format!("{cosine:.4}"));
        cosine.or_else(|| {
            agreement
                .top1
                .map(|share| format!("{:.0} % same", share * 100.0))
        })
    });
    let method = match &row.alone {
        Some(_) => format!("{} (one device answered)", row.method_and_rung()),
        None => row.method_and_rung(),
    };
    [
        row.bench.clone(),
        row.preset.clone(),
        method,
        row.devices.to_string(),
        row.tokens.to_string(),
        known(row.prepare_ms.map(|time| format!("{time:.1}"))),
        format!("{:.0}", row.latency_ms_median),
        known(
            row.speedup_over_one_device
                .map(|speedup| format!("{speedup:.2}")),
        ),
        known(agreement),
        row.bytes_counted.to_string(),
        known(row.bytes_kernel.map(|bytes| bytes.to_string())),
        known(row.own_share.map(|share| format!("{:.1} %", share * 100.0))),
        known(row.predicted_ms.map(|predicted| format!("{predicted:.0}"))),
        known(row.error().map(|error| format!("{:+.1} %", error * 100.0))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_report::data::tests;

    #[test]
    fn every_row_is_there_with_its_prediction() {
        let rows: Vec<Row> = serde_json::from_value(tests::rows()).unwrap();
        let text = markdown(&rows);
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("| vit-518"))
                .count(),
            rows.len()
        );
        assert!(
            text.contains("| 800 | 2.50 | 0.9700 | 1000 | 1200 |  | 840 | +5.0 % |"),
            "{text}"
        );
        assert!(
            text.ends_with("Error of predictions: median 5.0 %, largest 5.0 %.\n"),
            "{text}"
        );
    }
}
