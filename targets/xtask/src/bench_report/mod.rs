//! Plots and a table of what the benches measured.
//!
//! - `data`: rows of the benches' JSON files
//! - `lines`: draws lines; `speedup`: the lines of speedups; `breakdown`: draws where the time of a request went
//! - `table`: all rows and their predictions

mod breakdown;
mod data;
mod lines;
mod speedup;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use plotters::style::RGBColor;

use data::Row;
use lines::{Labels, Series};

/// Colours of lines and bars, distinct to the colour-blind too (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];

#[derive(Args, Debug)]
pub(crate) struct BenchReportArgs {
    /// Files that `netlab --out` wrote
    #[arg(required = true, value_name = "FILE.json")]
    files: Vec<PathBuf>,

    /// Folder for the plots
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(args: &BenchReportArgs) -> Result<()> {
    draw_all(&args.files, &args.out)
}

/// Draws every bench in the files into SVG files, and writes a table of all; their paths go to standard output.
pub(crate) fn draw_all(files: &[PathBuf], out: &Path) -> Result<()> {
    let mut rows = Vec::new();
    for file in files {
        rows.extend(data::read(file)?);
    }
    if rows.is_empty() {
        bail!("the files contain no rows");
    }
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let (mut benches, mut models) = (BTreeMap::new(), BTreeMap::new());
    for row in &rows {
        let of_bench: &mut Vec<Row> = benches.entry(row.bench.clone()).or_default();
        of_bench.push(row.clone());
        let of_model: &mut Vec<Row> = models.entry(row.model().to_owned()).or_default();
        of_model.push(row.clone());
    }
    for (bench, rows) in &benches {
        draw_bench(bench, rows, out)?;
    }
    for (model, rows) in &models {
        let labels = Labels {
            title: &format!(
                "{model}: speedup by length of the input, {} devices",
                data::most_devices(rows)
            ),
            x: "tokens of the input",
            place: &|tokens| tokens.to_string(),
        };
        draw_lines(
            &labels,
            &speedup::against_tokens(rows),
            &out.join(format!("{model}-tokens.svg")),
        )?;
    }
    let path = out.join("rows.md");
    fs::write(&path, table::markdown(&rows)).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    if let Some((median, worst)) = table::errors(&rows) {
        let percent = |share: f64| share * 100.0;
        eprintln!(
            "error of predictions: median {:.1} %, largest {:.1} %",
            percent(median),
            percent(worst)
        );
    }
    Ok(())
}

fn draw_bench(bench: &str, rows: &[Row], folder: &Path) -> Result<()> {
    let labels = Labels {
        title: &format!(
            "{bench}: speedup by link, {} devices",
            data::most_devices(rows)
        ),
        x: "rate of each device's link, megabits a second",
        place: &|mbps| mbps.to_string(),
    };
    draw_lines(
        &labels,
        &speedup::against_rate(rows),
        &folder.join(format!("{bench}-link.svg")),
    )?;
    let labels = Labels {
        title: &format!("{bench}: speedup by devices"),
        x: "devices",
        place: &|devices| devices.to_string(),
    };
    draw_lines(
        &labels,
        &speedup::against_devices(rows),
        &folder.join(format!("{bench}-devices.svg")),
    )?;
    let path = folder.join(format!("{bench}-breakdown.svg"));
    breakdown::draw(bench, rows, &path).map_err(|error| failed(&path, &*error))?;
    println!("{}", path.display());
    Ok(())
}

/// Lines, where there are any.
fn draw_lines(labels: &Labels<'_>, series: &Series, path: &Path) -> Result<()> {
    if series.is_empty() {
        return Ok(());
    }
    lines::draw(labels, series, path).map_err(|error| failed(path, &*error))?;
    println!("{}", path.display());
    Ok(())
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw {}: {error}", path.display())
}

fn colour(index: usize) -> RGBColor {
    COLOURS
        .iter()
        .cycle()
        .nth(index)
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_show_every_row() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.json");
        fs::write(&file, data::tests::rows().to_string()).unwrap();
        let out = folder.path().join("plots");
        run(&BenchReportArgs {
            files: vec![file],
            out: out.clone(),
        })
        .unwrap();
        let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
        let link = read("vit-518-link.svg");
        assert!(link.starts_with("<svg") && link.trim_end().ends_with("</svg>"));
        for label in [
            "astra, 160 bits",
            "sp-f32",
            "one device",
            "100",
            "megabits a second",
        ] {
            assert!(link.contains(label), "{label} is not in {link}");
        }
        // One mark for each row of four devices, and on the other plot for each of its places.
        assert_eq!(link.matches("<circle").count(), 3);
        assert_eq!(read("vit-518-devices.svg").matches("<circle").count(), 3);
        let breakdown = read("vit-518-breakdown.svg");
        for label in [
            "compute",
            "encode",
            "wait for codes",
            "wifi-10, one-device",
            "... 16000",
        ] {
            assert!(breakdown.contains(label), "{label} is not in {breakdown}");
        }
        assert!(!out.join("vit-tokens.svg").exists());
        assert!(read("rows.md").contains("| vit-518 | wifi-100 | astra, 160 bits | 4 |"));
    }

    #[test]
    fn a_file_without_rows_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.json");
        fs::write(&file, "[]").unwrap();
        let args = BenchReportArgs {
            files: vec![file],
            out: folder.path().join("plots"),
        };
        assert_eq!(
            run(&args).unwrap_err().to_string(),
            "the files contain no rows"
        );
        assert!(!args.out.exists());
    }
}
