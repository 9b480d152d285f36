//! One photograph, or one prompt, through a cluster of device processes on this machine, with everything that is needed for it.

mod args;
mod estimate;
mod setup;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::binaries;
use crate::bundle::Recipe;
use crate::devices::Devices;
use crate::edge::{self, AskArgs, Infer};
use crate::provision::{self, Needs};
use crate::report::{Estimate, Report};
use crate::stop::Stop;
use crate::{bundle, netlab, progress};

pub(crate) use args::DemoArgs;

use setup::Demo;

/// Devices find each other in about two seconds, but each loads the model first, all at the same time.
const CLUSTER_LIMIT: Duration = Duration::from_secs(90);

/// Long enough to be worth dividing.
const PROMPT: &str = "A wireless network joins four small computers. Each of them holds a copy of the same language model. \
A prompt is divided among them: every computer reads its own part, and tells the computers whose parts come later what it made \
of each token, in a few bytes. The last one has heard from all the others, and writes the answer. Reading goes faster the more \
computers there are, as they all read at once; writing does not, as every word depends on the word before it. Name one thing \
that goes faster with more computers, in one sentence.";

/// Runs the demo; one JSON object on standard output with `--json`, else a report for people.
pub(crate) fn run(args: &DemoArgs, stop: &Stop) -> Result<()> {
    if let Some(photo) = args.photo.as_ref().filter(|photo| !photo.is_file()) {
        bail!("{}: found no file", photo.display());
    }
    if args.lab {
        let share = estimate::share(estimate::cores(), args.devices)?;
        netlab::check(Some(share)).context("--lab")?;
    }
    let needs = if args.text { Needs::All } else { Needs::Images };
    let provisioned = provision::provision(needs, stop)?;
    let binaries = binaries::build(stop)?;
    let recipe = if args.text {
        Recipe::language(&provisioned)
    } else {
        Recipe::images(&provisioned, args.size.pixels())
    };
    let bundle = bundle::ensure(&recipe, &provisioned, &binaries, args.fresh, stop)?;

    let mut logs = tempfile::Builder::new().prefix("astra-demo-").tempdir()?;
    let demo = Demo {
        args,
        provisioned: &provisioned,
        binaries: &binaries,
        bundle: &bundle,
        stop,
    };
    let outcome = match args.text {
        true => demo.text(logs.path()),
        false => demo.picture(logs.path()),
    };
    if args.keep || outcome.is_err() {
        logs.disable_cleanup(true);
        eprintln!("the devices' logs are in {}", logs.path().display());
    }
    outcome
}

/// What the demo reads of the report of a prompt.
#[derive(Deserialize)]
struct TextReport {
    prompt_tokens: u16,
    rung_bits: u32,
}

impl Demo<'_> {
    /// Starts the devices, sends a request once all have found each other, and ends them.
    fn through_cluster<T>(
        &self,
        logs: &Path,
        request: impl FnOnce(&str) -> Result<T>,
    ) -> Result<T> {
        let cluster = cluster_name();
        let mut devices = Devices::new(logs);
        for number in 1..=self.args.devices {
            let name = format!("device-{number}");
            let mut command = edge::device(
                self.binaries,
                self.provisioned,
                &name,
                &cluster,
                self.bundle,
            );
            // On the cores of one machine, several devices can be slower than one.
            command.arg("--all-members");
            devices.start(name, &mut command)?;
        }
        devices.wait_until_usable(CLUSTER_LIMIT, self.stop, || {
            let (edge, provisioned) = (self.binaries, self.provisioned);
            edge::usable_devices(edge, provisioned, &cluster, None, self.stop, |command| {
                command
            })
        })?;
        let answer = request(&cluster);
        self.stop.check()?;
        // A device that died explains a failed request better than the request does.
        devices.check()?;
        answer.map_err(|error| anyhow!("{error:#}; the devices' logs end:\n{}", devices.tails()))
    }

    /// The photograph: one report when everything is known.
    fn picture(&self, folder: &Path) -> Result<()> {
        let mut report = self.through_cluster(folder, |cluster| self.infer(cluster))?;
        let estimate = self.estimate(None, report.rung_bits, folder)?;
        match estimate.clone() {
            Some(Estimate::Predicted(predicted)) => report.predicted = Some(predicted),
            Some(Estimate::Lab(lab)) => report.lab = Some(lab),
            None => {}
        }
        let mut stdout = io::stdout().lock();
        if self.args.json {
            writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
            return Ok(());
        }
        let explanation = self.explanation(estimate.as_ref());
        writeln!(stdout, "{report}\n{explanation}")?;
        Ok(())
    }

    /// The prompt: its answer streams to standard output, everything else goes to standard error.
    fn text(&self, folder: &Path) -> Result<()> {
        let file = folder.join("report.json");
        let answer = self.through_cluster(folder, |cluster| self.ask(cluster, &file))?;
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let report: TextReport =
            serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        let (tokens, bits) = (report.prompt_tokens, report.rung_bits);
        let estimate = self.estimate(Some(tokens), Some(bits), folder)?;
        if let Some(mut answer) = answer {
            if let (Some(estimate), Some(fields)) = (&estimate, answer.as_object_mut()) {
                fields.insert(estimate.name().to_owned(), estimate.json()?);
            }
            println!("{answer}");
            return Ok(());
        }
        if let Some(estimate) = &estimate {
            // Under the report of the request, whose prompt it is about.
            eprintln!("{estimate}; of the prompt, to its first token");
        }
        eprintln!("\n{}", self.explanation(estimate.as_ref()));
        Ok(())
    }

    fn explanation(&self, estimate: Option<&Estimate>) -> String {
        estimate::explanation(self.args.devices, estimate::cores(), estimate)
    }

    fn ask(&self, cluster: &str, report: &Path) -> Result<Option<serde_json::Value>> {
        let args = AskArgs {
            prompt: self.args.prompt.as_deref().unwrap_or(PROMPT),
            cluster,
            rung: self.args.rung.as_deref(),
            report,
            json: self.args.json,
        };
        edge::ask(self.binaries, self.provisioned, &args, self.stop)
    }

    fn infer(&self, cluster: &str) -> Result<Report> {
        let photo = self.photo();
        let picture = picture_path(&self.binaries.edge, &photo)?;
        let spinner = progress::spinner("sending the photograph, and comparing with one device");
        let request = Infer {
            photo: &photo,
            cluster,
            rung: self.args.rung.as_deref(),
            picture: &picture,
        };
        let report = edge::infer(self.binaries, self.provisioned, &request, self.stop);
        spinner.finish_and_clear();
        report
    }
}

/// A name that no other demo on this network has.
fn cluster_name() -> String {
    // The standard library seeds every RandomState from the system's random numbers.
    format!(
        "demo-{:08x}",
        RandomState::new().build_hasher().finish() >> 32
    )
}

/// `demo/PHOTO-saliency.png` in the folder that cargo builds into; creates the folder.
fn picture_path(binary: &Path, photo: &Path) -> Result<PathBuf> {
    let target = binary.ancestors().nth(2).unwrap_or(Path::new("."));
    let folder = target.join("demo");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let stem = photo.file_stem().unwrap_or_default().to_string_lossy();
    Ok(folder.join(format!("{stem}-saliency.png")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_differ() {
        let name = cluster_name();
        assert_eq!(name.len(), "demo-".len() + 8);
        assert!((0..8).any(|_| cluster_name() != name));
    }

    #[test]
    fn the_picture_lies_where_cargo_builds() {
        let target = tempfile::tempdir().unwrap();
        let binary = target.path().join("release/astra-edge");
        let picture = picture_path(&binary, Path::new("/photos/my cat.jpg")).unwrap();
        assert_eq!(picture, target.path().join("demo/my cat-saliency.png"));
        assert!(target.path().join("demo").is_dir());
    }
}
