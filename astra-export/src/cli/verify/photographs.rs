//! Photographs through a bundle.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use astra_bundle::{Bundle, ImageInput, Manifest, Sha256Digest};
use astra_export::photographs::list;
use astra_export::source::{self, Content};
use astra_export::split::Split;
use astra_export::verify::{LostFrames, Original, Row, measure, one_device, photographs};
use astra_model::engine::{ModelOutput, Runtime};
use astra_model::paths::cache_dir;
use serde::Serialize;

use super::{Verify, heading, interval, name, number};
use crate::cli::progress::Bar;
use crate::cli::{demo_photographs, print_json, print_text};

/// The figures.
#[derive(Serialize)]
struct Figures {
    images: usize,
    /// `null` without an original to compare with.
    one_device: Option<OneDevice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_frames: Option<LostFrames>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct OneDevice {
    /// Largest absolute difference of the map, over all pixels of all photographs.
    max_abs_diff: f32,
}

impl Verify {
    pub(super) fn photographs(&self, bundle: &Bundle) -> Result<()> {
        let image = bundle.manifest().image;
        let image = image.context("the bundle's input is no image, which is what is scored on")?;
        let paths = match &self.images {
            Some(folder) => list(folder)?,
            None => not_calibrated_on(bundle.manifest(), list(&demo_photographs()?)?),
        };
        let runtime = self.runtime.load()?;
        let pixels = photographs(&paths, &image, &Bar::new("read photographs").report())?;
        let answers = {
            let bar = Bar::new("one device");
            one_device(&runtime, bundle, &pixels, &bar.report())?
        };
        let (rungs, divisions) = (self.chosen_rungs(bundle), self.divisions());
        let figures = Figures {
            images: pixels.len(),
            one_device: self.original(&runtime, bundle, &image, &pixels, &answers)?,
            lost_frames: self.lost(),
            rows: {
                let bar = Bar::new("rungs");
                let report = bar.report();
                measure(
                    &runtime, bundle, &pixels, &answers, &rungs, &divisions, &report,
                )?
            },
        };
        if self.json {
            return print_json(&figures);
        }
        print_text(&table(&figures))
    }

    fn original(
        &self,
        runtime: &Runtime,
        bundle: &Bundle,
        image: &ImageInput,
        pixels: &[Vec<u8>],
        answers: &[ModelOutput],
    ) -> Result<Option<OneDevice>> {
        let Some(path) = self.original_file(bundle)? else {
            return Ok(None);
        };
        let Content::Image(vit) = source::onnx::open(&path)?.content else {
            bail!("{}: input: found text, expected an image", path.display());
        };
        let scale = vit.input.scale;
        let mut original = Original::open(runtime, &path, image, scale)?;
        let bar = Bar::new("original");
        let report = bar.report();
        let mut max_abs_diff = 0.0_f32;
        for (done, (pixels, answer)) in pixels.iter().zip(answers).enumerate() {
            let expected = original.map(pixels)?;
            let found = answer.map.as_ref().map_or(&[][..], |map| &map.values);
            ensure!(
                found.len() == expected.len(),
                "{}: map: found {} values, expected {} as of the bundle",
                path.display(),
                expected.len(),
                found.len()
            );
            let differences = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            max_abs_diff = differences.fold(max_abs_diff, f32::max);
            report(done as u64 + 1, answers.len() as u64);
        }
        Ok(Some(OneDevice { max_abs_diff }))
    }

    /// The file the bundle names as its source: the one given, or the cache's. An original takes one size only, so without
    /// `--onnx` a bundle of another size goes without.
    fn original_file(&self, bundle: &Bundle) -> Result<Option<PathBuf>> {
        let expected = bundle.manifest().source.sha256;
        if let Some(path) = &self.onnx {
            let found = digest(path)?;
            if found != expected {
                bail!(
                    "{}: SHA-256: found {found}, expected {expected}, that of what the bundle was exported from",
                    path.display()
                );
            }
            return Ok(Some(path.clone()));
        }
        let name = &bundle.manifest().source.file;
        let path = cache_dir().map(|cache| cache.join("models").join(name));
        let is_it = |path: &PathBuf| digest(path).is_ok_and(|found| found == expected);
        let size = bundle.manifest().image.map(|image| image.size);
        Ok(path.filter(|path| size == Some(224) && is_it(path)))
    }
}

/// Those of the demo's photographs that the bundle was not calibrated on; all where it was calibrated on others.
fn not_calibrated_on(manifest: &Manifest, paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let calibration = &manifest.calibration;
    let folder = paths.first().and_then(|path| path.parent());
    let is_source = folder.is_some_and(|folder| folder.ends_with(&calibration.source));
    if !is_source || calibration.held_out == 0 {
        return paths;
    }
    if Split::PHOTOGRAPHS.held_out(paths.len()) != calibration.held_out {
        eprintln!(
            "warning: the demo's photographs are others than when the bundle was calibrated on them: some of these may be among those"
        );
        return paths;
    }
    Split::PHOTOGRAPHS.divide(paths, manifest.seed).1
}

fn digest(path: &Path) -> Result<Sha256Digest> {
    let file = std::fs::File::open(path);
    let file = file.with_context(|| format!("{}: cannot be opened", path.display()))?;
    let digest = Sha256Digest::of_reader(file).map(|(digest, _)| digest);
    digest.with_context(|| format!("{}: cannot be read", path.display()))
}

fn table(figures: &Figures) -> String {
    let inputs = format!("{} photographs", figures.images);
    let mut text = heading(&inputs, figures.lost_frames);
    match &figures.one_device {
        Some(one) => {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "one device against the original: map differs by at most {:.1e}",
                one.max_abs_diff
            );
        }
        None => text.push_str("no original to compare one device with; give it with --onnx\n"),
    }
    text.push_str(
        "\n bits  rank  devices  cls cosine       95 % interval  patch cosine  map error",
    );
    for row in &figures.rows {
        let bits = name(row.bits);
        let _ = write!(
            text,
            "\n{bits:>5} {:>5} {:>8} {:>11} {:>19} {:>13} {:>10}",
            row.rank,
            row.agreement.devices,
            number(row.agreement.cls_cosine),
            interval(row),
            number(row.agreement.patch_cosine),
            number(row.agreement.map_mae)
        );
    }
    text
}
