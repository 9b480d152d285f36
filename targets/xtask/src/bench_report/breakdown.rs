//! Where the time of a request went, as stacked bars.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::data::Row;
use super::{SIZE, colour};

const PARTS: [&str; 4] = ["compute", "encode", "wait", "rest"];
/// Height of a bar and the space around it, and of what is above and below them, in pixels.
const BAR: u32 = 30;
const FRAME: u32 = 130;

/// One bar for each row: compute, encode, wait and the rest of its latency.
pub(super) fn draw(bench: &str, rows: &[Row], path: &Path) -> Result<(), Box<dyn Error>> {
    let count = u32::try_from(rows.len())?;
    let root = SVGBackend::new(path, (SIZE.0, FRAME + count * BAR)).into_drawing_area();
    root.fill(&WHITE)?;
    let (names, bars) = root.split_horizontally(270);
    let longest = rows
        .iter()
        .map(|row| row.latency_ms_median)
        .fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(&bars)
        .caption(
            format!("{bench}: milliseconds of a request"),
            ("sans-serif", 22),
        )
        .margin(12)
        .x_label_area_size(30)
        .build_cartesian_2d(0.0..longest * 1.05, f64::from(count)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .draw()?;
    for (part, name) in PARTS.iter().enumerate() {
        let style = colour(part).filled();
        let boxes = rows.iter().enumerate().map(|(place, row)| {
            let (from, to) = span(row, part);
            let top = place as f64;
            Rectangle::new([(from, top + 0.2), (to, top + 0.8)], style)
        });
        let key = move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], style);
        chart.draw_series(boxes)?.label(*name).legend(key);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    for (place, row) in rows.iter().enumerate() {
        let (_, middle) = chart.backend_coord(&(0.0, place as f64 + 0.5));
        label(&names, row, middle)?;
    }
    root.present()?;
    Ok(())
}

fn label<B: DrawingBackend>(
    names: &DrawingArea<B, Shift>,
    row: &Row,
    middle: i32,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let text = format!("{} {}", row.preset, row.series());
    names.draw(&Text::new(text, (12, middle - 6), ("sans-serif", 14)))
}

/// From where to where the bar of a row is of one part. A rest below zero, where medians do not add up, has no length.
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
    use crate::bench_report::data::tests::ROWS;

    #[test]
    fn parts_follow_one_another() {
        let mut rows: Vec<Row> = serde_json::from_str(ROWS).unwrap();
        let spans: Vec<_> = (0..PARTS.len()).map(|part| span(&rows[1], part)).collect();
        assert_eq!(
            spans,
            [(0.0, 600.0), (600.0, 620.0), (620.0, 700.0), (700.0, 800.0)]
        );
        rows[1].rest_ms = -3.0;
        assert_eq!(span(&rows[1], 3), (700.0, 700.0));
    }
}
