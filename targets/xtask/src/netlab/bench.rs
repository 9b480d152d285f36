//! Benches: devices in the lab, and a client that measures them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::binaries::{self, Binaries};
use crate::bundle::Recipe;
use crate::devices::Devices;
use crate::edge::{self, LabBench};
use crate::provision::{self, Needs, Provisioned};
use crate::stop::Stop;
use crate::{bundle, progress};

use super::args::{Bench, NetlabArgs};
use super::lab::{Lab, Shape};
use super::link::Link;
use super::rows::{self, Conditions, Row};
use super::wiring;

const CLUSTER: &str = "lab";
/// Devices load the model under their share of the processor.
const CLUSTER_LIMIT: Duration = Duration::from_secs(180);
const CLUSTER_POLL: Duration = Duration::from_millis(100);

/// Runs every bench on every link; rows on standard output and in the file that was named.
pub(crate) fn run(args: &NetlabArgs, links: &[Link], stop: &Stop) -> Result<()> {
    if args.bench.is_empty() {
        bail!("nothing to do: name a --bench, or a command behind --");
    }
    if let Some(photo) = args.photo.as_ref().filter(|photo| !photo.is_file()) {
        bail!("{} is no file", photo.display());
    }
    let provisioned = provision::provision(Needs::Images, stop)?;
    let binaries = binaries::build(stop)?;
    let mut rows = Vec::new();
    for bench in &args.bench {
        let recipe = Recipe::images(&provisioned, bench.size().pixels());
        let bundle = bundle::ensure(&recipe, &provisioned, &binaries, false, stop)?;
        let session = Session {
            args,
            links,
            bench: *bench,
            provisioned: &provisioned,
            binaries: &binaries,
            bundle: &bundle,
            stop,
        };
        rows.extend(session.run()?);
    }
    let text = serde_json::to_string(&rows)?;
    if let Some(path) = &args.out {
        std::fs::write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        println!("{text}");
    }
    Ok(())
}

struct Session<'a> {
    args: &'a NetlabArgs,
    links: &'a [Link],
    bench: Bench,
    provisioned: &'a Provisioned,
    binaries: &'a Binaries,
    bundle: &'a Path,
    stop: &'a Stop,
}

impl Session<'_> {
    fn run(&self) -> Result<Vec<Row>> {
        let mut logs = tempfile::Builder::new().prefix("astra-lab-").tempdir()?;
        let rows = self.in_lab(logs.path());
        if self.args.keep || rows.is_err() {
            logs.disable_cleanup(true);
            eprintln!("the devices' logs are in {}", logs.path().display());
        }
        rows
    }

    fn in_lab(&self, logs: &Path) -> Result<Vec<Row>> {
        let Some(first) = self.links.first() else {
            return Ok(Vec::new());
        };
        let lab = Lab::build(Shape::from(self.args), first.rate, self.stop)?;
        // Behind the lab, so that the devices say goodbye before it is taken down.
        let mut devices = Devices::new(logs);
        let mut counters = Vec::new();
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
            counters.push(counters_of(pid));
        }
        self.wait_for_cluster(&lab, &mut devices)?;
        let mut rows = Vec::new();
        for link in self.links {
            lab.set_link(link)?;
            rows.extend(self.measure(&lab, link, &counters, logs, &mut devices)?);
        }
        Ok(rows)
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

    fn measure(
        &self,
        lab: &Lab,
        link: &Link,
        counters: &[PathBuf],
        logs: &Path,
        devices: &mut Devices,
    ) -> Result<Vec<Row>> {
        let sample = self.provisioned.sample();
        let file = logs.join("rows.json");
        let bench = LabBench {
            photo: self.args.photo.as_deref().unwrap_or(&sample),
            cluster: CLUSTER,
            device: &device_name(1),
            interface: wiring::INTERFACE,
            preset: &link.name,
            rungs: &self.args.rungs,
            members: &self.members(),
            repeat: self.args.repeat,
            at_most: &self.args.at_most,
            counters,
            out: &file,
            quiet: self.args.json,
        };
        let command = edge::lab_bench(self.binaries, self.provisioned, &bench);
        let ran = edge::run_bench(&mut lab.beside_device(1, &command), self.stop);
        self.stop.check()?;
        devices.check()?;
        ran.with_context(|| format!("the devices' logs end:\n{}", devices.tails()))?;
        let conditions = Conditions {
            bench: self.bench.name().to_owned(),
            mbps: link.rate.0,
            loss_percent: self.args.loss,
            shared_medium: self.args.shared_medium,
            cores: self.args.cpu,
        };
        rows::read(&file, &conditions)
    }

    fn members(&self) -> Vec<u8> {
        match self.args.members.as_slice() {
            [] => vec![self.args.devices],
            given => given.to_vec(),
        }
    }
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
