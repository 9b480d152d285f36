//! Lines over a few positions of an axis, with their names next to them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::colour;

/// Width and height of a plot, and width of the names next to it.
const SIZE: (u32, u32) = (860, 440);
const NAMES: i32 = 210;
const LINE: i32 = 24;

/// Lines by name: positions on the axis and values there.
pub(super) type Series = BTreeMap<String, Vec<(u64, f64)>>;

/// Title and axes of a plot.
pub(super) struct Labels<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    /// Label of a position on the axis.
    pub(super) place: &'a dyn Fn(u64) -> String,
}

/// Draws speedups; positions on the axis are equally far apart.
pub(super) fn draw(
    labels: &Labels<'_>,
    series: &Series,
    path: &Path,
) -> Result<(), Box<dyn Error>> {
    let places: BTreeSet<u64> = series.values().flatten().map(|(place, _)| *place).collect();
    let places: Vec<u64> = places.into_iter().collect();
    // Positions are even numbers: plotters needs integers between two of them and at both ends.
    let at =
        |place: u64| 2 * i32::try_from(places.partition_point(|other| *other < place)).unwrap_or(0);
    let end = 2 * i32::try_from(places.len())? - 1;
    let top = series
        .values()
        .flatten()
        .map(|(_, value)| *value)
        .fold(1.0, f64::max)
        * 1.1;

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (plot, names) = root.split_horizontally(SIZE.0 as i32 - NAMES);
    let mut chart = ChartBuilder::on(&plot)
        .caption(labels.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(56)
        .build_cartesian_2d(-1..end, 0.0..top)?;
    let label = |at: &i32| {
        let index = usize::try_from(*at / 2).ok().filter(|_| at % 2 == 0);
        let place = index.and_then(|index| places.get(index));
        place.map_or_else(String::new, |place| (labels.place)(*place))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * places.len() + 2)
        .x_desc(labels.x)
        .y_desc("times as fast as one device")
        .x_label_formatter(&label)
        .y_label_formatter(&|speedup| format!("{speedup:.1}"))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .light_line_style(WHITE)
        .draw()?;
    chart.draw_series([PathElement::new(
        vec![(-1, 1.0), (end, 1.0)],
        BLACK.stroke_width(1),
    )])?;
    let mut keys = vec![("one device".to_owned(), BLACK)];
    for (index, (name, points)) in series.iter().enumerate() {
        let colour = colour(index);
        let points: Vec<(i32, f64)> = points
            .iter()
            .map(|(place, value)| (at(*place), *value))
            .collect();
        chart.draw_series([PathElement::new(points.clone(), colour.stroke_width(2))])?;
        chart.draw_series(
            points
                .into_iter()
                .map(|point| Circle::new(point, 4, colour.filled())),
        )?;
        keys.push((name.clone(), colour));
    }
    for ((name, colour), row) in keys.into_iter().zip(0..) {
        let y = 60 + row * LINE;
        names.draw(&PathElement::new(
            vec![(0, y), (22, y)],
            colour.stroke_width(2),
        ))?;
        names.draw(&Text::new(name, (30, y - 7), ("sans-serif", 14)))?;
    }
    root.present()?;
    Ok(())
}
