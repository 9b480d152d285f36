//! Lines over a few positions of an axis, with their names next to them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::num::TryFromIntError;
use std::path::Path;

use plotters::coord::Shift;
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

/// The values of an axis, ascending. Their positions are even numbers: plotters needs integers between two of them and at both ends.
struct Places(Vec<u64>);

impl Places {
    fn of(series: &Series) -> Self {
        let places: BTreeSet<u64> = series.values().flatten().map(|(place, _)| *place).collect();
        Self(places.into_iter().collect())
    }

    fn position(&self, place: u64) -> i32 {
        2 * i32::try_from(self.0.partition_point(|other| *other < place)).unwrap_or(0)
    }

    fn at(&self, position: i32) -> Option<u64> {
        let index = usize::try_from(position / 2).ok();
        let index = index.filter(|_| position % 2 == 0)?;
        self.0.get(index).copied()
    }

    /// The position after the last.
    fn end(&self) -> Result<i32, TryFromIntError> {
        Ok(2 * i32::try_from(self.0.len())? - 1)
    }
}

/// Draws speedups; positions on the axis are equally far apart.
pub(super) fn draw(
    labels: &Labels<'_>,
    series: &Series,
    path: &Path,
) -> Result<(), Box<dyn Error>> {
    let places = Places::of(series);
    let end = places.end()?;
    let values = series.values().flatten().map(|(_, value)| *value);
    let top = values.fold(1.0, f64::max) * 1.1;

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
        let place = places.at(*at);
        place.map_or_else(String::new, labels.place)
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * places.0.len() + 2)
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
            .map(|(place, value)| (places.position(*place), *value))
            .collect();
        chart.draw_series([PathElement::new(points.clone(), colour.stroke_width(2))])?;
        chart.draw_series(
            points
                .into_iter()
                .map(|point| Circle::new(point, 4, colour.filled())),
        )?;
        keys.push((name.clone(), colour));
    }
    draw_key(&names, keys)?;
    root.present()?;
    Ok(())
}

/// The names of the lines next to their colours.
fn draw_key(
    names: &DrawingArea<SVGBackend<'_>, Shift>,
    keys: Vec<(String, RGBColor)>,
) -> Result<(), Box<dyn Error>> {
    for ((name, colour), row) in keys.into_iter().zip(0..) {
        let y = 60 + row * LINE;
        names.draw(&PathElement::new(
            vec![(0, y), (22, y)],
            colour.stroke_width(2),
        ))?;
        names.draw(&Text::new(name, (30, y - 7), ("sans-serif", 14)))?;
    }
    Ok(())
}
