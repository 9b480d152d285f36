//! `astra-export tune`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use astra_bundle::{Bundle, BundleError};
use astra_export::package::record_agreement;
use astra_export::photographs::list;
use astra_export::split::Split;
use astra_export::tune::{MEMBERS, Outcome, Rate, Settings, Told, Training};
use astra_export::verify::{Division, measure, one_device, photographs};
use astra_model::engine::Runtime;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::progress::Bar;
use super::{RuntimeOptions, print_json, print_text};

/// Numbers of devices that agreement is measured at afterwards.
const DEVICES: [usize; 3] = [2, 4, 8];

/// Train the codec of an image model
///
/// Trains what belongs to the codec through the whole distributed computation, so that the distributed model's features come
/// close to those of the exact model: transform, codebooks, predictions, and the maps to keys and values. The model's weights, and
/// with them exact answers, stay as they are; no labels are needed.
///
/// A fifth of the photographs is not trained on. Agreement with one device is measured on these during training, by the engine that
/// devices run; the best state is kept, and never one with a lower class token or patch cosine than the bundle's own. A run that was
/// stopped continues from its last measurement when it is started again with the same arguments: checkpoints are kept in OUT.tuning
/// until the bundle is written.
#[derive(Debug, clap::Args)]
pub(super) struct Tune {
    /// The bundle
    bundle: PathBuf,
    /// Folder of photographs to train and measure on
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Directory the new bundle goes to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Rungs to train, one after another, by their bits per token per block; by default all
    #[arg(long, value_name = "BITS,...", value_delimiter = ',')]
    rungs: Option<Vec<u32>>,
    /// Time for each rung at most
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Steps of each rung at most
    #[arg(long, value_name = "N", default_value_t = 400)]
    steps: usize,
    /// Inputs of a step
    #[arg(long, value_name = "N", default_value_t = 8)]
    batch: usize,
    /// Steps between measurements
    #[arg(long, value_name = "N", default_value_t = 25)]
    measure_every: usize,
    /// Largest change of a value a step, in units of the root mean square of its tensor
    #[arg(long, value_name = "SHARE", default_value_t = 4e-4)]
    rate: f64,
    /// Share of every value that is lost a step, in units of the rate
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    decay: f64,
    /// Longest gradient, in units of its usual length
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0)]
    clip: f64,
    /// Weight of the distance of what is coded to its codewords in the loss
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.02)]
    commitment: f64,
    /// Size of the noise added to what is decoded, in that of its error (noise-augmented quantization)
    #[arg(long, value_name = "LAMBDA", default_value_t = 0.0)]
    noise: f64,
    /// Numbers of devices to train for
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [MEMBERS])]
    devices: Vec<usize>,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Replace an existing bundle
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What training came to.
#[derive(Serialize)]
struct Figures<'a> {
    bundle: &'a Path,
    hash: String,
    trained_on: usize,
    measured_on: usize,
    rungs: &'a [Outcome],
}

impl Tune {
    pub(super) fn run(self) -> Result<()> {
        self.check()?;
        let bundle = Bundle::open(&self.bundle)?;
        ensure!(
            bundle.manifest().image.is_some(),
            "{}: input: found text, expected images: codecs of text models cannot be trained yet",
            self.bundle.display()
        );
        let rungs = self.chosen_rungs(&bundle)?;
        // The split of calibration, so that what was held out then still is.
        let (train, held_out) =
            Split::PHOTOGRAPHS.divide(list(&self.data)?, bundle.manifest().seed);
        let trained_on = train.len();
        let runtime = self.runtime.load()?;
        let settings = self.settings();
        let training = Training {
            bundle: &bundle,
            out: &self.out,
            data: &self.data,
            train,
            held_out: &held_out,
            rungs: &rungs,
            settings: &settings,
            limit: self
                .minutes
                .map(|minutes| Duration::from_secs_f64(60.0 * minutes)),
            threads: runtime.threads(),
        };
        let (mut tuned, outcomes) = {
            let bar = TrainingBar::new();
            training.run(&runtime, &mut |told| bar.tell(told))?
        };
        record(&runtime, &mut tuned, &outcomes, &held_out)?;
        let figures = Figures {
            bundle: tuned.dir(),
            hash: tuned.short_hash(),
            trained_on,
            measured_on: held_out.len(),
            rungs: &outcomes,
        };
        match self.json {
            true => print_json(&figures),
            false => print_text(&table(&figures)),
        }
    }

    /// Refuses before anything takes time.
    fn check(&self) -> Result<()> {
        let positive = |what: &str, value: f64| {
            ensure!(
                value > 0.0 && value.is_finite(),
                "--{what}: found {value}, expected a number above 0"
            );
            Ok(())
        };
        positive("rate", self.rate)?;
        positive("clip", self.clip)?;
        if let Some(minutes) = self.minutes {
            positive("minutes", minutes)?;
            ensure!(
                minutes <= 1e6,
                "--minutes: found {minutes}, expected at most 1000000"
            );
        }
        for (what, value) in [
            ("decay", self.decay),
            ("commitment", self.commitment),
            ("noise", self.noise),
        ] {
            ensure!(
                value >= 0.0 && value.is_finite(),
                "--{what}: found {value}, expected 0 or a number above"
            );
        }
        for (what, value) in [
            ("steps", self.steps),
            ("batch", self.batch),
            ("measure-every", self.measure_every),
        ] {
            ensure!(value > 0, "--{what}: found 0, expected at least 1");
        }
        for devices in &self.devices {
            ensure!(
                (2..=64).contains(devices),
                "--devices: found {devices}, expected 2 to 64"
            );
        }
        self.check_place()
    }

    /// Finds out before hours of work, not after, that the place is taken.
    fn check_place(&self) -> Result<()> {
        let place = self.out.display();
        match Bundle::open(&self.out) {
            Err(BundleError::NoDirectory(_)) => Ok(()),
            _ if self.force => Ok(()),
            Ok(_) => bail!("{place}: a bundle is there; pass --force to replace it"),
            Err(_) => {
                let entries = std::fs::read_dir(&self.out);
                let mut entries = entries.with_context(|| format!("{place}: cannot be read"))?;
                ensure!(
                    entries.next().is_none(),
                    "{place}: found a directory with other files, expected nothing or a bundle"
                );
                Ok(())
            }
        }
    }

    fn chosen_rungs(&self, bundle: &Bundle) -> Result<Vec<u32>> {
        let known: Vec<u32> = bundle
            .manifest()
            .rungs
            .iter()
            .map(|rung| rung.bits)
            .collect();
        ensure!(
            !known.is_empty(),
            "{}: rungs: found none, expected a bundle with a codec",
            self.bundle.display()
        );
        let mut rungs = self.rungs.clone().unwrap_or_else(|| known.clone());
        for bits in &rungs {
            ensure!(
                known.contains(bits),
                "--rungs: found {bits}, expected some of {known:?}, which the bundle has"
            );
        }
        rungs.sort_unstable();
        rungs.dedup();
        Ok(rungs)
    }

    fn settings(&self) -> Settings {
        Settings {
            rate: Rate {
                rate: self.rate,
                decay: self.decay,
                clip: self.clip,
            },
            batch: self.batch,
            steps: self.steps,
            measure_every: self.measure_every,
            commitment: self.commitment,
            lambda: self.noise,
            devices: self.devices.clone(),
            seed: self.seed,
        }
    }
}

/// Measures the agreement of the rungs that changed, and records it in the bundle.
fn record(
    runtime: &Runtime,
    bundle: &mut Bundle,
    outcomes: &[Outcome],
    held_out: &[PathBuf],
) -> Result<()> {
    let changed = outcomes
        .iter()
        .filter(|outcome| outcome.after != outcome.before);
    let changed = changed.filter_map(|outcome| u16::try_from(outcome.bits).ok());
    let changed: Vec<u16> = changed.collect();
    if changed.is_empty() {
        return Ok(());
    }
    let image = bundle.manifest().image;
    let image = image.context("the bundle's input is no image, which is what is scored on")?;
    let pixels = photographs(held_out, &image, &|_, _| ())?;
    let answers = one_device(runtime, bundle, &pixels, &|_, _| ())?;
    let tokens = bundle.manifest().shape.tokens;
    let devices = DEVICES.into_iter().filter(|&devices| devices <= tokens);
    let divisions: Vec<Division> = devices.map(Division::of_all_inputs).collect();
    let rows = {
        let bar = Bar::new("measure agreement");
        let report = bar.report();
        measure(
            runtime, bundle, &pixels, &answers, &changed, &divisions, &report,
        )?
    };
    let measured = rows.iter().map(|row| (u32::from(row.bits), row.agreement));
    record_agreement(bundle, &measured.collect::<Vec<_>>())?;
    Ok(())
}

/// Progress on a terminal; elsewhere a line a measurement.
struct TrainingBar {
    bar: ProgressBar,
}

impl TrainingBar {
    fn new() -> Self {
        let template = "{prefix} {wide_bar} {percent:>3}% {eta:>4} left  {msg}";
        let style = ProgressStyle::with_template(template);
        Self {
            bar: ProgressBar::new(1000)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
        }
    }

    fn tell(&self, told: &Told) {
        if told.step == 1 {
            self.bar.reset();
        }
        self.bar.set_prefix(format!("rung {}", told.bits));
        self.bar.set_position((1000.0 * told.done) as u64);
        let Some(measured) = told.measured else {
            let loss = format!("loss {:.5}  best {:.4}", told.loss, told.best.class);
            return self.bar.set_message(loss);
        };
        let line = format!(
            "rung {} step {}: loss {:.5}, distortion {:.3}, class token {:.5}, patches {:.5}; best {:.5}, {:.5}; before {:.5}, {:.5}",
            told.bits,
            told.step,
            told.loss,
            told.distortion,
            measured.class,
            measured.tokens,
            told.best.class,
            told.best.tokens,
            told.before.class,
            told.before.tokens
        );
        match self.bar.is_hidden() {
            true => eprintln!("{line}"),
            false => self.bar.println(line),
        }
    }
}

impl Drop for TrainingBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn table(figures: &Figures<'_>) -> String {
    let mut text = format!(
        "{}: {}\ntrained on {} photographs, measured on {} others at {MEMBERS} devices\n\n bits  steps  minutes  class token   before   patches   before",
        figures.bundle.display(),
        figures.hash,
        figures.trained_on,
        figures.measured_on
    );
    for rung in figures.rungs {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n{:>5} {:>6} {:>8.1} {:>12.4} {:>8.4} {:>9.4} {:>8.4}",
            rung.bits,
            rung.steps,
            rung.seconds / 60.0,
            rung.after.class,
            rung.before.class,
            rung.after.tokens,
            rung.before.tokens
        );
    }
    text
}
