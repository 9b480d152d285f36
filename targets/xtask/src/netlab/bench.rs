//! Benches: devices in the lab, and a client that measures them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench_report;
use crate::binaries::{self, Binaries};
use crate::devices::Devices;
use crate::edge::{self, Input, LabBaselines, LabBench};
use crate::provision::{self, Needs, Provisioned};
use crate::stop::Stop;
use crate::{bundle, progress};

use super::args::{Bench, NetlabArgs};
use super::lab::{Lab, Shape};
use super::link::Link;
use super::predict::{self, Predictor};
use super::rows::{self, Conditions, Row};
use super::wiring;

const CLUSTER: &str = "lab";
/// Where baselines listen.
const BASELINES_PORT: u16 = 7600;
/// Devices load the model under their share of the processor.
const CLUSTER_LIMIT: Duration = Duration::from_secs(180);
const CLUSTER_POLL: Duration = Duration::from_millis(100);

/// Runs every bench on every link; rows on standard output and in the file that was named.
pub(crate) fn run(args: &NetlabArgs, links: &[Link], stop: &Stop) -> Result<()> {
    if args.bench.is_empty() {
        bail!("nothing to do: name a --bench, or a command behind --");
    }
    let named = args.photo.iter().chain(&args.text);
    if let Some(missing) = named.into_iter().find(|file| !file.is_file()) {
        bail!("{} is no file", missing.display());
    }
    let needs = args.bench.iter().map(|bench| bench.needs()).max();
    let provisioned = provision::provision(needs.unwrap_or(Needs::Images), stop)?;
    let binaries = binaries::build(stop)?;
    let baselines = match args.baseline.is_empty() {
        true => None,
        false => Some(binaries::build_baselines(stop)?),
    };
    let mut rows = Vec::new();
    for bench in &args.bench {
        let recipe = bench.recipe(&provisioned);
        let bundle = bundle::ensure(&recipe, &provisioned, &binaries, false, stop)?;
        let session = Session {
            args,
            links,
            bench: *bench,
            provisioned: &provisioned,
            binaries: &binaries,
            baselines: baselines.as_deref(),
            bundle: &bundle,
            stop,
        };
        session.run(&mut rows)?;
    }
    if let (Some(file), Some(folder)) = (&args.out, &args.plots) {
        bench_report::draw_all(std::slice::from_ref(file), folder)?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&rows)?);
    }
    Ok(())
}

/// Writes the rows there are: those of hours are not to be lost with one that fails.
fn save(rows: &[Row], file: Option<&Path>) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = serde_json::to_string(rows)?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

struct Session<'a> {
    args: &'a NetlabArgs,
    links: &'a [Link],
    bench: Bench,
    provisioned: &'a Provisioned,
    binaries: &'a Binaries,
    /// The program of the baselines, if any are asked for.
    baselines: Option<&'a Path>,
    bundle: &'a Path,
    stop: &'a Stop,
}

impl Session<'_> {
    /// Adds a row for everything measured to those there are.
    fn run(&self, rows: &mut Vec<Row>) -> Result<()> {
        let mut logs = tempfile::Builder::new().prefix("astra-lab-").tempdir()?;
        let ended = self.in_lab(logs.path(), rows);
        if self.args.keep || ended.is_err() {
            logs.disable_cleanup(true);
            eprintln!("the devices' logs are in {}", logs.path().display());
        }
        ended
    }

    fn in_lab(&self, logs: &Path, rows: &mut Vec<Row>) -> Result<()> {
        let Some(first) = self.links.first() else {
            return Ok(());
        };
        let lab = Lab::build(Shape::from(self.args), first.rate, self.stop)?;
        // Behind the lab, so that the devices say goodbye before it is taken down.
        let mut devices = Devices::new(logs);
        let mut processes = Vec::new();
        for number in 1..=self.args.devices {
            let name = device_name(number);
            let command = edge::lab_device(
                self.binaries,
                self.provisioned,
                &name,
                CLUSTER,
                self.bundle,
                wiring::INTERFACE,
            );
            let pid = devices.start(name, &mut lab.on_device(number, &command))?;
            processes.push(pid);
        }
        self.wait_for_cluster(&lab, &mut devices)?;
        let predictor = self.predictor(&lab, logs)?;
        for link in self.links {
            lab.set_link(link)?;
            let mut of_link = self.measure(&lab, link, &processes, logs, &mut devices)?;
            predictor.enter(&mut of_link, link.rate.0)?;
            rows.extend(of_link);
            save(rows, self.args.out.as_deref())?;
        }
        Ok(())
    }

    fn wait_for_cluster(&self, lab: &Lab, devices: &mut Devices) -> Result<()> {
        let wanted = usize::from(self.args.devices);
        let spinner = progress::spinner("waiting for the devices to find each other");
        let start = Instant::now();
        loop {
            self.stop.check()?;
            devices.check()?;
            let ask = |command: Command| lab.beside_device(1, &command);
            let found =
                edge::usable_devices_by(self.binaries, self.provisioned, CLUSTER, self.stop, ask);
            self.stop.check()?;
            if matches!(found, Ok(found) if found >= wanted) {
                spinner.finish_and_clear();
                return Ok(());
            }
            if start.elapsed() > CLUSTER_LIMIT {
                bail!(
                    "no cluster of {wanted} devices within {} s: {found:?}; the devices' logs end:\n{}",
                    CLUSTER_LIMIT.as_secs(),
                    devices.tails()
                );
            }
            thread::sleep(CLUSTER_POLL);
        }
    }

    /// Measures the steps on all devices at a time, as they work in a request: they share this machine's caches and memory.
    fn predictor(&self, lab: &Lab, logs: &Path) -> Result<Predictor<'_>> {
        let sample = self.provisioned.sample();
        let photo = self.args.photo.as_deref().unwrap_or(&sample);
        let profile = |number: u8| logs.join(format!("profile-{number}.json"));
        let command = |number: u8| {
            let command = edge::lab_profile(
                self.binaries,
                self.provisioned,
                self.bundle,
                &self.args.rungs,
                self.bench.tokens().is_none().then_some(photo),
                &profile(number),
            );
            lab.on_device(number, &command)
        };
        let spinner = progress::spinner("measuring the steps of a request");
        let mut others = Devices::new(logs);
        for number in 2..=self.args.devices {
            others.start(format!("profile-{number}"), &mut command(number))?;
        }
        predict::measure(&mut command(1), &profile(1), self.stop)?;
        spinner.finish_and_clear();
        Ok(Predictor {
            binaries: self.binaries,
            provisioned: self.provisioned,
            profile: profile(1),
            cores: self.args.cpu,
            shared_medium: self.args.shared_medium,
            stop: self.stop,
        })
    }

    fn measure(
        &self,
        lab: &Lab,
        link: &Link,
        processes: &[u32],
        logs: &Path,
        devices: &mut Devices,
    ) -> Result<Vec<Row>> {
        let sample = self.provisioned.sample();
        let licence = licence();
        let file = logs.join("rows.json");
        let counters: Vec<PathBuf> = processes.iter().copied().map(counters_of).collect();
        let bench = LabBench {
            input: match self.bench.tokens() {
                None => Input::Photo(self.args.photo.as_deref().unwrap_or(&sample)),
                Some(tokens) => Input::Text {
                    file: self.args.text.as_deref().unwrap_or(&licence),
                    tokens: &match self.args.tokens.as_slice() {
                        [] => vec![tokens],
                        given => given.to_vec(),
                    },
                    bundle: self.bundle,
                },
            },
            cluster: CLUSTER,
            device: &device_name(1),
            interface: wiring::INTERFACE,
            preset: &link.name,
            rungs: &self.args.rungs,
            members: &self.args.members,
            repeat: self.args.repeat,
            at_most: &self.args.at_most,
            counters: &counters,
            processes,
            out: &file,
            quiet: self.args.json,
        };
        let command = edge::lab_bench(self.binaries, self.provisioned, &bench);
        let ran = edge::run_bench(&mut lab.beside_device(1, &command), self.stop);
        self.stop.check()?;
        devices.check()?;
        ran.with_context(|| format!("the devices' logs end:\n{}", devices.tails()))?;
        let mut rows = rows::read(&file, &self.conditions(link))?;
        let alone: Vec<_> = rows.iter().filter_map(Row::one_device).collect();
        // The most members asked for: they are what takes longest.
        let members = self.args.members.iter().map(|&members| match members {
            0 => self.args.devices,
            named => named,
        });
        let devices = members.max().unwrap_or(self.args.devices);
        for one_device in alone {
            rows.extend(self.beside(lab, link, &counters, logs, devices, one_device)?);
        }
        Ok(rows)
    }

    fn conditions(&self, link: &Link) -> Conditions {
        Conditions {
            bench: self.bench.name().to_owned(),
            mbps: link.rate.0,
            loss_percent: self.args.loss,
            shared_medium: self.args.shared_medium,
            cores: self.args.cpu,
        }
    }

    /// The baselines, by processes of their own under the devices' shares of the processor: the devices do nothing meanwhile.
    fn beside(
        &self,
        lab: &Lab,
        link: &Link,
        counters: &[PathBuf],
        logs: &Path,
        devices: u8,
        (tokens, one_device): (u64, f64),
    ) -> Result<Vec<Row>> {
        let Some(program) = self.baselines.filter(|_| devices > 1) else {
            return Ok(Vec::new());
        };
        let (sample, licence) = (self.provisioned.sample(), licence());
        let is_text = self.bench.tokens().is_some();
        let file = logs.join("baselines.json");
        let addresses: Vec<String> = (1..=devices)
            .map(|number| format!("{}:{BASELINES_PORT}", wiring::address(number)))
            .collect();
        let run = LabBaselines {
            program,
            bundle: self.bundle,
            methods: &self.args.baseline,
            addresses: &addresses,
            repeat: self.args.repeat,
            at_most: &self.args.at_most,
            one_device,
            preset: &link.name,
            photo: (!is_text).then(|| self.args.photo.as_deref().unwrap_or(&sample)),
            text: is_text.then(|| (self.args.text.as_deref().unwrap_or(&licence), tokens)),
            counters,
            out: &file,
        };
        let mut others = Devices::new(logs);
        for (rank, number) in (2..=devices).enumerate() {
            let command = edge::lab_baseline(self.provisioned, &run, rank + 1);
            let name = format!("baseline-{number}");
            others.start(name, &mut lab.on_device(number, &command))?;
        }
        let first = edge::lab_baseline(self.provisioned, &run, 0);
        let ran = edge::run_bench(&mut lab.on_device(1, &first), self.stop);
        self.stop.check()?;
        ran.with_context(|| format!("the baselines' logs end:\n{}", others.tails()))?;
        rows::read(&file, &self.conditions(link))
    }
}

/// A text that is always there.
fn licence() -> PathBuf {
    binaries::workspace().join("LICENSE")
}

fn device_name(number: u8) -> String {
    format!("device-{number}")
}

/// What the kernel counts on the interface of a process's network, as the process sees it.
fn counters_of(pid: u32) -> PathBuf {
    let interface = wiring::INTERFACE;
    PathBuf::from(format!(
        "/proc/{pid}/root/sys/class/net/{interface}/statistics"
    ))
}
