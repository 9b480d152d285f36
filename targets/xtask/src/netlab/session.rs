//! One bench in a lab of its own: the devices of every build, and clients that measure them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::binaries;
use crate::devices::Devices;
use crate::edge::plan::{self, Cpu, Steps};
use crate::edge::{self, Input, LabBaselines, LabBench, LabDevice};
use crate::progress;
use crate::provision::Provisioned;
use crate::stop::Stop;

use super::args::{Bench, NetlabArgs};
use super::builds::{Build, Name};
use super::cluster::Cluster;
use super::comparison;
use super::lab::{Lab, Shape};
use super::link::Link;
use super::merge::Fields;
use super::predict::Predictor;
use super::quota;
use super::rows::{self, Conditions, Row};
use super::wiring;

/// Where baselines listen.
const BASELINES_PORT: u16 = 7600;
/// Devices load the model with their share of the processor.
const CLUSTER_LIMIT: Duration = Duration::from_secs(180);
/// Requests before those measured in a round: the other build has been at work, and the processor's caches hold its memory.
const WARM_UP: usize = 1;

pub(super) struct Session<'a> {
    pub(super) args: &'a NetlabArgs,
    pub(super) links: &'a [Link],
    pub(super) bench: Bench,
    pub(super) provisioned: &'a Provisioned,
    /// This workspace's build, and a second one if two are compared.
    pub(super) builds: &'a [Build],
    pub(super) bundle: &'a Path,
    pub(super) stop: &'a Stop,
}

/// How many requests a client measures at a time.
#[derive(Clone, Copy)]
struct Requests {
    repeat: usize,
    warm_up: Option<usize>,
}

impl Session<'_> {
    /// Adds the rows of all links to `rows`; `save` is called with them after each.
    pub(super) fn run(
        &self,
        rows: &mut Vec<Row>,
        save: &mut dyn FnMut(&[Row]) -> Result<()>,
    ) -> Result<()> {
        let mut logs = tempfile::Builder::new().prefix("astra-lab-").tempdir()?;
        let ended = self.in_lab(logs.path(), rows, save);
        if self.args.keep || ended.is_err() {
            logs.disable_cleanup(true);
            eprintln!("the devices' logs are in {}", logs.path().display());
        }
        ended
    }

    fn in_lab(
        &self,
        logs: &Path,
        rows: &mut Vec<Row>,
        save: &mut dyn FnMut(&[Row]) -> Result<()>,
    ) -> Result<()> {
        let Some(first) = self.links.first() else {
            return Ok(());
        };
        let lab = Lab::build(Shape::from(self.args), first.rate, self.stop)?;
        // Declared after the lab, so that the devices shut down before it is taken down.
        let mut clusters: Vec<_> = self
            .builds
            .iter()
            .map(|build| Cluster::new(build, logs))
            .collect();
        // One after another: a device measures its speed as it starts, and its share of the tokens depends on it.
        for number in 1..=self.args.devices {
            for cluster in &mut clusters {
                self.start(&lab, cluster, number)
                    .with_context(|| self.named(cluster.build))?;
            }
        }
        let Some(this) = self.builds.first() else {
            return Ok(());
        };
        let predictor = self.predictor(&lab, this, logs)?;
        for link in self.links {
            lab.set_link(link)?;
            let mut of_link = match clusters.as_mut_slice() {
                [this, other] => self.in_turns(&lab, link, [this, other], logs)?,
                clusters => self.one_after_another(&lab, link, clusters, logs)?,
            };
            predictor.add_to(&mut of_link, link.rate.0)?;
            rows.extend(of_link);
            save(rows)?;
        }
        Ok(())
    }

    /// For errors: which build they are about, if there are two.
    fn named(&self, build: &Build) -> String {
        match (build.name, &self.args.other) {
            (Some(Name::Other), Some(folder)) => format!("the build of {}", folder.display()),
            _ => "this build".to_owned(),
        }
    }

    /// Starts device `number`, and waits until it can be used.
    fn start(&self, lab: &Lab, cluster: &mut Cluster<'_>, number: u8) -> Result<()> {
        let build = cluster.build;
        let name = device_name(number);
        let device = LabDevice {
            name: &name,
            cluster: build.cluster,
            bundle: self.bundle,
            discovery: build.discovery(),
            listen: build.listen(number),
        };
        let command = edge::lab_device(&build.binaries, self.provisioned, &device);
        cluster.start(&name, &mut lab.on_device(number, &command))?;
        let usable = || {
            let place = |command| lab.beside_device(1, &command);
            let discovery = Some(build.discovery());
            let (edge, name) = (&build.binaries, build.cluster);
            edge::usable_devices(edge, self.provisioned, name, discovery, self.stop, place)
        };
        cluster
            .devices
            .wait_until_usable(CLUSTER_LIMIT, self.stop, usable)
    }

    /// Measures the steps on all devices at a time, as they compute in a request: they share this machine's caches and memory.
    fn predictor<'b>(&'b self, lab: &Lab, build: &'b Build, logs: &Path) -> Result<Predictor<'b>> {
        let photo = self.photo();
        let steps = Steps {
            bundle: self.bundle,
            rungs: &self.args.rungs,
            photo: self.bench.tokens().is_none().then_some(&*photo),
            threads: 1,
        };
        let profile = |number: u8| logs.join(format!("profile-{number}.json"));
        let command = |number: u8| {
            let profile = profile(number);
            let command =
                plan::profile_command(&build.binaries, self.provisioned, &steps, &profile);
            lab.on_device(number, &command)
        };
        let spinner = progress::spinner("measuring the steps of a request");
        let mut others = Devices::new(logs);
        for number in 2..=self.args.devices {
            others.start(format!("profile-{number}"), &mut command(number))?;
        }
        plan::measure(&mut command(1), &profile(1), self.stop)?;
        spinner.finish_and_clear();
        Ok(Predictor {
            binaries: &build.binaries,
            provisioned: self.provisioned,
            profile: profile(1),
            cpu: match self.args.cpu {
                Some(cores) if cores < 1.0 => Cpu {
                    cores,
                    quota_period: quota::period(cores).as_secs_f64() * 1e3,
                },
                _ => Cpu::WHOLE,
            },
            shared_medium: self.args.shared_medium,
            stop: self.stop,
        })
    }

    /// All requests of a cluster at once.
    fn one_after_another(
        &self,
        lab: &Lab,
        link: &Link,
        clusters: &mut [Cluster<'_>],
        logs: &Path,
    ) -> Result<Vec<Row>> {
        let requests = Requests {
            repeat: self.args.repeat,
            warm_up: None,
        };
        let mut rows = Vec::new();
        for cluster in clusters {
            let measured = self.measure(lab, link, cluster, requests, logs)?;
            let conditions = self.conditions(link, cluster.build);
            rows.extend(
                measured
                    .into_iter()
                    .map(|fields| Row::new(&conditions, fields)),
            );
        }
        Ok(rows)
    }

    /// Requests of two builds in rounds: what makes this machine slower for a while then makes both slower.
    fn in_turns(
        &self,
        lab: &Lab,
        link: &Link,
        mut clusters: [&mut Cluster<'_>; 2],
        logs: &Path,
    ) -> Result<Vec<Row>> {
        let conditions = clusters
            .each_ref()
            .map(|cluster| self.conditions(link, cluster.build));
        let rounds = comparison::rounds(self.args.repeat, self.args.round);
        let mut measured = [Vec::new(), Vec::new()];
        for (number, &repeat) in rounds.iter().enumerate() {
            let requests = Requests {
                repeat,
                warm_up: Some(WARM_UP),
            };
            // Each build is first in every other round.
            let mut order: Vec<_> = clusters.iter_mut().zip(&mut measured).collect();
            if number % 2 == 1 {
                order.reverse();
            }
            for (cluster, rows) in order {
                let spinner = progress::spinner(&format!(
                    "{}: round {} of {}, {}",
                    link.name,
                    number + 1,
                    rounds.len(),
                    self.named(cluster.build)
                ));
                rows.push(self.measure(lab, link, cluster, requests, logs)?);
                spinner.finish_and_clear();
            }
        }
        comparison::rows(&conditions, &measured)
    }

    /// One run of the client, and of the baselines if there are any.
    fn measure(
        &self,
        lab: &Lab,
        link: &Link,
        cluster: &mut Cluster<'_>,
        requests: Requests,
        logs: &Path,
    ) -> Result<Vec<Fields>> {
        let build = cluster.build;
        let (photo, text) = (self.photo(), self.text());
        let tokens = self.tokens();
        let file = logs.join("rows.json");
        let bench = LabBench {
            input: match self.bench.tokens() {
                None => Input::Photo(&photo),
                Some(_) => Input::Text {
                    file: &text,
                    tokens: &tokens,
                    bundle: self.bundle,
                },
            },
            cluster: build.cluster,
            device: &device_name(1),
            discovery: build.discovery(),
            preset: &link.name,
            rungs: &self.args.rungs,
            members: &self.args.members,
            repeat: requests.repeat,
            warm_up: requests.warm_up,
            at_most: &self.args.at_most,
            counters: &cluster.counters,
            processes: &cluster.processes,
            out: &file,
            quiet: self.args.json || self.builds.len() > 1,
        };
        let command = edge::lab_bench(&build.binaries, self.provisioned, &bench);
        let ran = edge::run_bench(&mut lab.beside_device(1, &command), self.stop);
        self.stop.check()?;
        cluster.devices.check().with_context(|| self.named(build))?;
        ran.with_context(|| {
            let tails = cluster.devices.tails();
            format!("{}; the devices' logs end:\n{tails}", self.named(build))
        })?;
        let mut measured = rows::read(&file)?;
        let one_device: Vec<_> = measured.iter().filter_map(rows::one_device).collect();
        for one_device in one_device {
            measured.extend(self.baselines(lab, link, cluster, requests, one_device, logs)?);
        }
        Ok(measured)
    }

    /// The baselines of a build, by processes of their own with the devices' shares of the processor: the devices are idle meanwhile.
    fn baselines(
        &self,
        lab: &Lab,
        link: &Link,
        cluster: &Cluster<'_>,
        requests: Requests,
        (tokens, one_device): (u64, f64),
        logs: &Path,
    ) -> Result<Vec<Fields>> {
        // As many devices as the cluster's largest rows have.
        let members = self.args.members.iter().map(|&members| match members {
            0 => self.args.devices,
            named => named,
        });
        let devices = members.max().unwrap_or(self.args.devices);
        let Some(program) = cluster.build.baselines.as_deref().filter(|_| devices > 1) else {
            return Ok(Vec::new());
        };
        let (photo, text) = (self.photo(), self.text());
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
            repeat: requests.repeat,
            at_most: &self.args.at_most,
            one_device,
            preset: &link.name,
            photo: (!is_text).then_some(&*photo),
            text: is_text.then_some((&*text, tokens)),
            counters: &cluster.counters,
            out: &file,
        };
        let mut others = Devices::new(logs);
        for (rank, number) in (2..=devices).enumerate() {
            let command = edge::lab_baseline(self.provisioned, &run, rank + 1);
            let name = cluster.build.file(&format!("baseline-{number}"));
            others.start(name, &mut lab.on_device(number, &command))?;
        }
        let first = edge::lab_baseline(self.provisioned, &run, 0);
        let ran = edge::run_bench(&mut lab.on_device(1, &first), self.stop);
        self.stop.check()?;
        ran.with_context(|| {
            let (build, tails) = (self.named(cluster.build), others.tails());
            format!("{build}; the baselines' logs end:\n{tails}")
        })?;
        rows::read(&file)
    }

    fn conditions(&self, link: &Link, build: &Build) -> Conditions {
        Conditions {
            build: build.name,
            bench: self.bench.name().to_owned(),
            mbps: link.rate.0,
            loss_percent: self.args.loss,
            shared_medium: self.args.shared_medium,
            cores: self.args.cpu,
        }
    }

    fn photo(&self) -> PathBuf {
        let given = self.args.photo.clone();
        given.unwrap_or_else(|| self.provisioned.sample())
    }

    /// A file to cut prompts out of: by default one that is always there.
    fn text(&self) -> PathBuf {
        let given = self.args.text.clone();
        given.unwrap_or_else(|| binaries::workspace().join("LICENSE"))
    }

    /// Lengths of prompts.
    fn tokens(&self) -> Vec<u16> {
        match self.args.tokens.as_slice() {
            [] => self.bench.tokens().into_iter().collect(),
            given => given.to_vec(),
        }
    }
}

fn device_name(number: u8) -> String {
    format!("device-{number}")
}
