//! Where the time of a request went, as stacked bars.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::colour;
use super::data::{Row, most_devices};

const PARTS: [&str; 4] = [
    "compute",
    "encode",
    "wait for codes",
    "network: input out, features back; head",
];
const WIDTH: u32 = 860;
/// Height of a bar with its margin, height of title and axis, and width of the bars' names, in pixels.
const BAR: u32 = 26;
const FRAME: u32 = 130;
const NAMES: i32 = 200;
/// Bars are cut at this many times the slowest one device's.
const LONGEST: f64 = 2.0;

/// One bar for each row of one device, and for each of the rows with the most devices.
pub(super) fn draw(bench: &str, rows: &[Row], path: &Path) -> Result<(), Box<dyn Error>> {
    let devices = most_devices(rows);
    let longest = rows.iter().map(|row| row.tokens).max();
    let shown = |row: &&Row| {
        (row.is_one_device() || row.devices == devices)
            && (bench.starts_with("vit") || Some(row.tokens) == longest)
    };
    let rows: Vec<&Row> = rows.iter().filter(shown).collect();
    let count = u32::try_from(rows.len())?;
    let end = longest_bar(&rows);

    let root = SVGBackend::new(path, (WIDTH, FRAME + count * BAR)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("{bench}: where the time goes, {devices} devices");
    root.draw(&Text::new(title, (20, 12), ("sans-serif", 20)))?;
    draw_key(&root)?;
    let (_, below) = root.split_vertically(64);
    let (names, bars) = below.split_horizontally(NAMES);
    let mut chart = ChartBuilder::on(&bars)
        .margin_right(80)
        .x_label_area_size(44)
        .build_cartesian_2d(0.0..end, f64::from(count)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("milliseconds")
        .x_label_formatter(&|time| format!("{time:.0}"))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .light_line_style(WHITE)
        .draw()?;
    for part in 0..PARTS.len() {
        let boxes = rows.iter().enumerate().map(|(place, row)| {
            let (from, to) = span(row, part);
            let top = place as f64;
            let style = colour(part).filled();
            Rectangle::new(
                [(from.min(end), top + 0.18), (to.min(end), top + 0.82)],
                style,
            )
        });
        chart.draw_series(boxes)?;
    }
    for (place, row) in rows.iter().enumerate() {
        let latency = row.latency_ms_median;
        let (x, y) = chart.backend_coord(&(latency.min(end), place as f64 + 0.5));
        let more = if latency > end { "... " } else { "" };
        let total = format!("{more}{latency:.0}");
        // Positions on the whole picture, as the chart gives them.
        root.draw(&Text::new(total, (x + 6, y - 6), ("sans-serif", 13)))?;
        let name = format!("{}, {}", row.preset, row.method_and_rung());
        let (_, left) = names.get_base_pixel();
        names.draw(&Text::new(name, (20, y - left - 6), ("sans-serif", 13)))?;
    }
    root.present()?;
    Ok(())
}

/// Where the axis ends, in milliseconds.
fn longest_bar(rows: &[&Row]) -> f64 {
    let one_device = rows
        .iter()
        .filter(|row| row.is_one_device())
        .map(|row| row.latency_ms_median);
    let cut = one_device.fold(0.0, f64::max) * LONGEST;
    let most = rows
        .iter()
        .map(|row| row.latency_ms_median)
        .fold(1.0, f64::max);
    if cut > 0.0 { most.min(cut) } else { most }
}

/// The colours of the parts.
fn draw_key(root: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn Error>> {
    let mut x = 20;
    for (part, name) in PARTS.iter().enumerate() {
        let style = colour(part).filled();
        root.draw(&Rectangle::new([(x, 44), (x + 12, 56)], style))?;
        root.draw(&Text::new(*name, (x + 18, 43), ("sans-serif", 14)))?;
        x += 40 + 8 * i32::try_from(name.len())?;
    }
    Ok(())
}

/// Start and end of one part in the bar of a row. A negative rest, where medians do not add up, has no length.
fn span(row: &Row, part: usize) -> (f64, f64) {
    let parts = [row.compute_ms, row.encode_ms, row.wait_ms, row.rest_ms];
    let mut from = 0.0;
    for (index, length) in parts.iter().enumerate() {
        let to = from + length.max(0.0);
        if index == part {
            return (from, to);
        }
        from = to;
    }
    (from, from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_report::data::tests;

    #[test]
    fn parts_follow_one_another() {
        let mut rows: Vec<Row> = serde_json::from_value(tests::rows()).unwrap();
        let spans: Vec<_> = (0..PARTS.len()).map(|part| span(&rows[1], part)).collect();
        assert_eq!(
            spans,
            [(0.0, 600.0), (600.0, 620.0), (620.0, 700.0), (700.0, 800.0)]
        );
        rows[1].rest_ms = -3.0;
        assert_eq!(span(&rows[1], 3), (700.0, 700.0));
    }
}
