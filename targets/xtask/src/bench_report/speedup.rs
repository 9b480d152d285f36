//! Speedup over one device: over the rate of the link, the number of devices, and the length of the input.

use std::collections::BTreeMap;

use super::data::{Row, most_devices};
use super::lines::Series;

/// Over the rate of the link, of the rows with the most devices.
pub(super) fn against_rate(rows: &[Row]) -> Series {
    let devices = most_devices(rows);
    let longest = rows.iter().map(|row| row.tokens).max();
    let shown = |row: &Row| {
        row.devices == devices && (Some(row.tokens) == longest || same_length(row, rows))
    };
    series(
        rows.iter().filter(|row| shown(row)),
        Row::method_and_rung,
        |row| row.mbps.round() as u64,
    )
}

/// Whether this row's input is the longest of its method.
fn same_length(row: &Row, rows: &[Row]) -> bool {
    let of_method = rows.iter().filter(|other| other.method == row.method);
    of_method.map(|other| other.tokens).max() == Some(row.tokens)
}

/// Over the number of devices, one line a link.
pub(super) fn against_devices(rows: &[Row]) -> Series {
    let name = |row: &Row| format!("{}, {}", row.preset, row.method_and_rung());
    let astra = rows
        .iter()
        .filter(|row| row.method == "astra" && same_length(row, rows));
    let mut series = series(astra, name, |row| row.devices as u64);
    series.retain(|_, points| points.len() > 1);
    for points in series.values_mut() {
        points.insert(0, (1, 1.0));
    }
    series
}

/// Over the tokens of the input, one line a link, of all benches of a model.
pub(super) fn against_tokens(rows: &[Row]) -> Series {
    let devices = most_devices(rows);
    let name = |row: &Row| format!("{}, {}", row.preset, row.method_and_rung());
    let astra = rows
        .iter()
        .filter(|row| row.method == "astra" && row.devices == devices);
    let mut series = series(astra, name, |row| row.tokens as u64);
    series.retain(|_, points| points.len() > 1);
    series
}

fn series<'a>(
    rows: impl Iterator<Item = &'a Row>,
    name: impl Fn(&Row) -> String,
    place: impl Fn(&Row) -> u64,
) -> Series {
    let mut series: BTreeMap<String, Vec<(u64, f64)>> = BTreeMap::new();
    for row in rows.filter(|row| !row.is_one_device()) {
        if let Some(speedup) = row.speedup_over_one_device {
            series
                .entry(name(row))
                .or_default()
                .push((place(row), speedup));
        }
    }
    for points in series.values_mut() {
        points.sort_by_key(|point| point.0);
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_report::data::tests;

    #[test]
    fn lines_go_by_rate_and_by_devices() {
        let mut rows: Vec<Row> = serde_json::from_value(tests::rows()).unwrap();
        rows.reverse();
        let rate = against_rate(&rows);
        assert_eq!(rate.len(), 2);
        assert_eq!(rate["astra, 160 bits"], [(10, 2.5), (100, 2000.0 / 725.0)]);
        let devices = against_devices(&rows);
        assert_eq!(devices.len(), 1);
        assert_eq!(
            devices["wifi-10, astra, 160 bits"],
            [(1, 1.0), (2, 2000.0 / 1200.0), (4, 2.5)]
        );
        assert!(against_tokens(&rows).is_empty());
    }
}
