//! Plots of what the benches measured.
//!
//! - `data`: rows of the benches' JSON files
//! - `speedup`: against the rate of the link; `breakdown`: where the time of a request went

mod breakdown;
mod data;
mod speedup;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use plotters::style::RGBColor;

use data::Row;

/// Width and height of a plot.
const SIZE: (u32, u32) = (900, 540);
/// What lines and bars are told apart by; distinct to the colour-blind (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
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

/// Draws every bench in the files into SVG files; their paths go to standard output.
pub(crate) fn run(args: &BenchReportArgs) -> Result<()> {
    let mut benches: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for file in &args.files {
        for row in data::read(file)? {
            benches.entry(row.bench.clone()).or_default().push(row);
        }
    }
    if benches.is_empty() {
        bail!("the files hold no rows");
    }
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create {}", args.out.display()))?;
    for (bench, rows) in &benches {
        for path in draw(bench, rows, &args.out)? {
            println!("{}", path.display());
        }
    }
    Ok(())
}

fn draw(bench: &str, rows: &[Row], folder: &Path) -> Result<[PathBuf; 2]> {
    let paths = [
        folder.join(format!("{bench}-speedup.svg")),
        folder.join(format!("{bench}-breakdown.svg")),
    ];
    let [speedup, breakdown] = &paths;
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        anyhow!("cannot draw {}: {error}", path.display())
    };
    speedup::draw(bench, rows, speedup).map_err(|error| failed(speedup, &error))?;
    breakdown::draw(bench, rows, breakdown).map_err(|error| failed(breakdown, &error))?;
    Ok(paths)
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
        fs::write(&file, data::tests::ROWS).unwrap();
        let out = folder.path().join("plots");
        run(&BenchReportArgs {
            files: vec![file],
            out: out.clone(),
        })
        .unwrap();
        let speedup = fs::read_to_string(out.join("vit-518-speedup.svg")).unwrap();
        assert!(speedup.starts_with("<svg") && speedup.trim_end().ends_with("</svg>"));
        for label in [
            "astra, 160 bits, 4 devices",
            "sp-f32, 4 devices",
            "one device",
        ] {
            assert!(speedup.contains(label), "{label} is not in {speedup}");
        }
        // One mark for each row that is not of one device.
        assert_eq!(speedup.matches("<circle").count(), 3);
        let breakdown = fs::read_to_string(out.join("vit-518-breakdown.svg")).unwrap();
        for label in ["compute", "encode", "wait", "rest", "wifi-10", "one-device"] {
            assert!(breakdown.contains(label), "{label} is not in {breakdown}");
        }
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
            "the files hold no rows"
        );
        assert!(!args.out.exists());
    }
}
