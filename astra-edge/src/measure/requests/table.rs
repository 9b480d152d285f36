//! Rows for people.

use super::row::Row;
use crate::report::table;

impl Row {
    fn name(&self) -> String {
        let method = self.method.name();
        match self.rung_bits {
            None => method.to_owned(),
            Some(0) => format!("{method} in exact mode"),
            Some(bits) => format!("{method} at {bits} bits"),
        }
    }

    fn cells(&self) -> [String; HEADINGS.len()] {
        let figure = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let time = |value: f64| format!("{value:.1}");
        [
            self.preset.clone().unwrap_or_else(|| "-".to_owned()),
            self.method.name().to_owned(),
            self.devices.to_string(),
            self.tokens.to_string(),
            match self.rung_bits {
                None => "-".to_owned(),
                Some(0) => "exact".to_owned(),
                Some(bits) => bits.to_string(),
            },
            self.requests.to_string(),
            figure(self.prepare_ms, 1),
            time(self.latency_ms_median),
            format!("{:.1}-{:.1}", self.latency_ms_min, self.latency_ms_max),
            figure(self.speedup_over_one_device, 2),
            figure(self.agreement.and_then(|one| one.cls_cosine), 4),
            figure(self.agreement.and_then(|one| one.map_mae), 4),
            figure(self.agreement.and_then(|one| one.top1), 2),
            self.bytes_counted.to_string(),
            self.bytes_kernel
                .map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
            time(self.compute_ms),
            time(self.encode_ms),
            time(self.wait_ms),
            time(self.rest_ms),
            figure(self.own_share.map(|share| share * 100.0), 1),
        ]
    }
}

const HEADINGS: [&str; 20] = [
    "link",
    "method",
    "devices",
    "tokens",
    "bits",
    "n",
    "prepare",
    "median ms",
    "min-max",
    "speedup",
    "CLS cosine",
    "map error",
    "top 1",
    "bytes",
    "by kernel",
    "compute",
    "encode",
    "wait",
    "rest",
    "own %",
];

/// Rows for people.
pub fn rows_as_table(rows: &[Row]) -> String {
    let mut cells = vec![HEADINGS.map(str::to_owned)];
    cells.extend(rows.iter().map(Row::cells));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = table(&mut text, &cells);
    for row in rows {
        let row_name = row.name();
        if let Some(why) = &row.alone {
            text.push_str(&format!("{row_name} was answered by one device: {why}\n"));
        }
        if row.requests_by_others > 0 {
            let others = row.requests_by_others;
            text.push_str(&format!(
                "{row_name}: {others} more requests were answered by other members; no figure counts them\n"
            ));
        }
        if let Some(note) = row.note {
            text.push_str(&format!("{row_name} is {note}\n"));
        }
        if row.masked_tokens > 0 {
            let tokens = row.masked_tokens;
            text.push_str(&format!("{row_name} left out {tokens} tokens\n"));
        }
    }
    text
}
