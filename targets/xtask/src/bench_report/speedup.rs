//! Speedup over one device, against the rate of the link.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::data::Row;
use super::{SIZE, colour};

type Points = Vec<(f64, f64)>;

/// One line for each method, rung and number of devices; above 1 it is faster than one device.
pub(super) fn draw(bench: &str, rows: &[Row], path: &Path) -> Result<(), Box<dyn Error>> {
    let lines = lines(rows);
    let points = || lines.values().flatten();
    let least = points()
        .map(|(mbps, _)| *mbps)
        .fold(f64::INFINITY, f64::min);
    let most = points().map(|(mbps, _)| *mbps).fold(0.0, f64::max);
    let top = points().map(|(_, speedup)| *speedup).fold(1.0, f64::max) * 1.15;
    // One link alone, or none, still makes an axis.
    let (from, to) = match least <= most {
        true => (least / 1.3, most * 1.3),
        false => (1.0, 1000.0),
    };

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            format!("{bench}: speedup over one device"),
            ("sans-serif", 22),
        )
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((from..to).log_scale(), 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("rate of each device's link, megabits a second")
        .y_desc("times as fast as one device")
        .x_label_formatter(&|mbps| format!("{mbps:.0}"))
        .y_label_formatter(&|speedup| format!("{speedup:.1}"))
        .draw()?;
    let one_device = PathElement::new(vec![(from, 1.0), (to, 1.0)], BLACK.stroke_width(1));
    chart
        .draw_series([one_device])?
        .label("one device")
        .legend(key(BLACK));
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = colour(index);
        let line = PathElement::new(points.clone(), colour.stroke_width(2));
        chart.draw_series([line])?.label(name).legend(key(colour));
        chart.draw_series(
            points
                .iter()
                .map(|point| Circle::new(*point, 4, colour.filled())),
        )?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

fn key(colour: RGBColor) -> impl Fn((i32, i32)) -> PathElement<(i32, i32)> {
    move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
}

fn lines(rows: &[Row]) -> BTreeMap<String, Points> {
    let mut lines: BTreeMap<String, Points> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.is_one_device()) {
        if let Some(speedup) = row.speedup_over_one_device {
            let line = lines.entry(row.series()).or_default();
            line.push((row.mbps, speedup));
        }
    }
    for line in lines.values_mut() {
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_report::data::tests::ROWS;

    #[test]
    fn lines_go_by_rate() {
        let rows: Vec<Row> = serde_json::from_str(ROWS).unwrap();
        let reversed: Vec<Row> = rows.into_iter().rev().collect();
        let lines = lines(&reversed);
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines["astra, 160 bits, 4 devices"],
            [(10.0, 2.5), (100.0, 2.86)]
        );
    }
}
