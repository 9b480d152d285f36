//! One photograph, or one question in words, through a cluster of device processes on this machine: from nothing to an answer.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::binaries::{self, Binaries};
use crate::bundle::Recipe;
use crate::cli::DemoArgs;
use crate::devices::Devices;
use crate::edge::{self, Ask, Infer};
use crate::provision::{self, Needs, Provisioned};
use crate::report::Report;
use crate::stop::Stop;
use crate::{bundle, progress};

/// Devices find each other in about two seconds, but each loads the model first, side by side.
const CLUSTER_LIMIT: Duration = Duration::from_secs(90);
const CLUSTER_POLL: Duration = Duration::from_millis(100);

/// Long enough to be worth dividing.
const PROMPT: &str = "A wireless network joins four small computers. Each of them holds a copy of the same language model. \
A prompt is divided among them: every computer reads its own part, and tells the computers whose parts come later what it made \
of each token, in a few bytes. The last one has heard from all the others, and writes the answer. Reading goes faster the more \
computers there are, as they all read at once; writing does not, as every word depends on the word before it. Name one thing \
that goes faster with more computers, in one sentence.";

/// Runs the demo; one JSON object on standard output with `--json`, else a report for people.
pub(crate) fn run(args: &DemoArgs, stop: &Stop) -> Result<()> {
    if let Some(photo) = args.photo.as_ref().filter(|photo| !photo.is_file()) {
        bail!("{} is no file", photo.display());
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
    let outcome = if args.text {
        demo.through_cluster(logs.path(), |cluster| demo.ask(cluster))
    } else {
        let through = demo.through_cluster(logs.path(), |cluster| demo.infer(cluster));
        through.and_then(|report| print(&report, args.json))
    };
    if args.keep || outcome.is_err() {
        logs.disable_cleanup(true);
        eprintln!("the devices' logs are in {}", logs.path().display());
    }
    outcome
}

struct Demo<'a> {
    args: &'a DemoArgs,
    provisioned: &'a Provisioned,
    binaries: &'a Binaries,
    bundle: &'a Path,
    stop: &'a Stop,
}

impl Demo<'_> {
    /// Starts the devices, and asks them once all have found each other.
    fn through_cluster<T>(&self, logs: &Path, ask: impl FnOnce(&str) -> Result<T>) -> Result<T> {
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
        self.wait_for_cluster(&cluster, &mut devices)?;
        let answer = ask(&cluster);
        self.stop.check()?;
        // A device that died explains a failed request better than the request does.
        devices.check()?;
        answer.map_err(|error| anyhow!("{error:#}; the devices' logs end:\n{}", devices.tails()))
    }

    fn wait_for_cluster(&self, cluster: &str, devices: &mut Devices) -> Result<()> {
        let wanted = usize::from(self.args.devices);
        let spinner = progress::spinner("waiting for the devices to find each other");
        let start = Instant::now();
        loop {
            self.stop.check()?;
            devices.check()?;
            // Until the first device listens there is nobody to ask; that is not yet a failure.
            let found = edge::usable_devices(self.binaries, self.provisioned, cluster, self.stop);
            self.stop.check()?;
            if matches!(found, Ok(found) if found >= wanted) {
                spinner.finish_and_clear();
                return Ok(());
            }
            if start.elapsed() > CLUSTER_LIMIT {
                let found = match found {
                    Ok(found) => format!("{found} usable"),
                    Err(error) => format!("{error:#}"),
                };
                bail!(
                    "no cluster of {wanted} devices within {} s: {found}; the devices' logs end:\n{}",
                    CLUSTER_LIMIT.as_secs(),
                    devices.tails()
                );
            }
            thread::sleep(CLUSTER_POLL);
        }
    }

    /// The answer streams to standard output, what each member did to standard error.
    fn ask(&self, cluster: &str) -> Result<()> {
        let ask = Ask {
            prompt: self.args.prompt.as_deref().unwrap_or(PROMPT),
            cluster,
            rung: &self.args.rung,
            json: self.args.json,
        };
        edge::ask(self.binaries, self.provisioned, &ask, self.stop)
    }

    fn infer(&self, cluster: &str) -> Result<Report> {
        let sample = self.provisioned.sample();
        let photo = self.args.photo.as_deref().unwrap_or(&sample);
        let picture = picture_path(&self.binaries.edge, photo)?;
        let spinner = progress::spinner("sending the photograph, and comparing with one device");
        let request = Infer {
            photo,
            cluster,
            rung: &self.args.rung,
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

fn print(report: &Report, json: bool) -> Result<()> {
    let mut stdout = io::stdout().lock();
    if json {
        writeln!(stdout, "{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    writeln!(
        stdout,
        "{report}\nThe devices share this machine ({cores} cores): the latency is not that of as many machines."
    )?;
    Ok(())
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
