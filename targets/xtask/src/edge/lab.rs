//! The command lines of devices in the lab, of the client that measures them, and of baselines.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::binaries::Binaries;
use crate::child;
use crate::provision::Provisioned;
use crate::stop::Stop;

use super::program::{device, program};

/// Ends a client that hangs; `--at-most` limits each row.
const BENCH_LIMIT: Duration = Duration::from_secs(3600);

/// The input of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    Photo(&'a Path),
    /// Prompts of these lengths, cut out of a file with the tokenizer of a bundle.
    Text {
        file: &'a Path,
        tokens: &'a [u16],
        bundle: &'a Path,
    },
}

/// One run of `astra-edge bench`.
#[derive(Debug)]
pub(crate) struct LabBench<'a> {
    pub(crate) input: Input<'a>,
    pub(crate) cluster: &'a str,
    pub(crate) device: &'a str,
    pub(crate) discovery: Discovery<'a>,
    pub(crate) preset: &'a str,
    pub(crate) rungs: &'a [String],
    pub(crate) members: &'a [u8],
    pub(crate) repeat: usize,
    /// Requests before them; `None` for the client's default.
    pub(crate) warm_up: Option<usize>,
    pub(crate) at_most: &'a str,
    /// Folders with the kernel's interface counters, one a device.
    pub(crate) counters: &'a [PathBuf],
    /// Process IDs of the devices.
    pub(crate) processes: &'a [u32],
    /// File that the rows are written into.
    pub(crate) out: &'a Path,
    /// Print no table.
    pub(crate) quiet: bool,
}

/// How a program in the lab finds the devices of its cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Discovery<'a> {
    /// By multicast on this interface.
    Multicast(&'a str),
    /// Through the device at this `HOST:PORT`, without multicast: clusters on one network then do not connect to each other.
    Connect(&'a str),
}

impl Discovery<'_> {
    pub(super) fn add_to(self, command: &mut Command) {
        match self {
            Self::Multicast(interface) => command.args(["--multicast-interface", interface]),
            Self::Connect(address) => command.args(["--no-multicast", "--connect", address]),
        };
    }
}

/// One device of the lab, which computes with one thread.
#[derive(Debug)]
pub(crate) struct LabDevice<'a> {
    pub(crate) name: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) discovery: Discovery<'a>,
    /// Address to be reached at, as `HOST:PORT`; by default the interface's on a free port.
    pub(crate) listen: Option<&'a str>,
}

/// The command that runs a device.
pub(crate) fn lab_device(
    binaries: &Binaries,
    provisioned: &Provisioned,
    lab: &LabDevice<'_>,
) -> Command {
    let mut command = device(binaries, provisioned, lab.name, lab.cluster, lab.bundle);
    command.args(["--threads", "1"]);
    match (lab.discovery, lab.listen) {
        // The device that the others connect to.
        (Discovery::Connect(address), Some(listen)) if address == listen => {
            command.arg("--no-multicast");
        }
        (discovery, _) => discovery.add_to(&mut command),
    }
    if let Some(listen) = lab.listen {
        command.args(["--listen", listen]);
    }
    command
}

/// One run of the baselines on some devices.
#[derive(Debug)]
pub(crate) struct LabBaselines<'a> {
    pub(crate) program: &'a Path,
    pub(crate) bundle: &'a Path,
    pub(crate) methods: &'a [String],
    /// Of all devices, in their order.
    pub(crate) addresses: &'a [String],
    pub(crate) repeat: usize,
    pub(crate) at_most: &'a str,
    /// Milliseconds of one device.
    pub(crate) one_device: f64,
    pub(crate) preset: &'a str,
    pub(crate) photo: Option<&'a Path>,
    /// A file to cut prompts out of, and their length in tokens.
    pub(crate) text: Option<(&'a Path, u64)>,
    pub(crate) counters: &'a [PathBuf],
    pub(crate) out: &'a Path,
}

/// The command that runs one rank of a baseline.
pub(crate) fn lab_baseline(
    provisioned: &Provisioned,
    run: &LabBaselines<'_>,
    rank: usize,
) -> Command {
    let mut command = program(run.program, provisioned);
    command
        .arg("--bundle")
        .arg(run.bundle)
        .args(["--rank", &rank.to_string()])
        .args(["--addresses", &run.addresses.join(",")])
        .args(["--methods", &run.methods.join(",")])
        .args(["--repeat", &run.repeat.to_string()])
        .args(["--at-most", run.at_most])
        .args(["--one-device", &run.one_device.to_string()])
        .args(["--preset", run.preset])
        .arg("--out")
        .arg(run.out);
    if let Some(photo) = run.photo {
        command.arg("--photo").arg(photo);
    }
    if let Some((file, tokens)) = run.text {
        command.arg("--text").arg(file);
        command.args(["--tokens", &tokens.to_string()]);
    }
    for counters in run.counters {
        command.arg("--counters").arg(counters);
    }
    command
}

/// The command of the client that measures a cluster.
pub(crate) fn lab_bench(
    binaries: &Binaries,
    provisioned: &Provisioned,
    bench: &LabBench<'_>,
) -> Command {
    let members: Vec<String> = bench.members.iter().map(u8::to_string).collect();
    let mut command = program(&binaries.edge, provisioned);
    command.arg("bench");
    match bench.input {
        Input::Photo(photo) => command.arg(photo),
        Input::Text {
            file,
            tokens,
            bundle,
        } => {
            let tokens: Vec<String> = tokens.iter().map(u16::to_string).collect();
            command.arg("--text").arg(file).arg("--bundle").arg(bundle);
            command.args(["--tokens", &tokens.join(",")])
        }
    };
    command.args(["--cluster", bench.cluster, "--device", bench.device]);
    bench.discovery.add_to(&mut command);
    command
        .args(["--preset", bench.preset])
        .args(["--rungs", &bench.rungs.join(",")])
        .args(["--members", &members.join(",")])
        .args(["--repeat", &bench.repeat.to_string()])
        .args(["--at-most", bench.at_most])
        .arg("--out")
        .arg(bench.out);
    if let Some(warm_up) = bench.warm_up {
        command.args(["--warm-up", &warm_up.to_string()]);
    }
    for counters in bench.counters {
        command.arg("--counters").arg(counters);
    }
    for process in bench.processes {
        command.args(["--process", &process.to_string()]);
    }
    if bench.quiet {
        command.arg("--quiet");
    }
    command
}

/// Runs a client or a baseline to its end; its table goes to standard output.
pub(crate) fn run_bench(command: &mut Command, stop: &Stop) -> Result<()> {
    let status = child::Running::spawn(command)?.wait(stop, Some(BENCH_LIMIT), || ())?;
    if !status.success() {
        bail!("the measuring program failed ({status})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::program::fixtures::{arguments, binaries, provisioned};

    #[test]
    fn a_bench_gets_every_argument() {
        let command = lab_bench(
            &binaries(),
            &provisioned(),
            &LabBench {
                input: Input::Text {
                    file: Path::new("/text"),
                    tokens: &[256, 1024],
                    bundle: Path::new("/bundle"),
                },
                cluster: "lab",
                device: "device-1",
                discovery: Discovery::Multicast("eth0"),
                preset: "wifi-10",
                rungs: &["160".to_owned(), "exact".to_owned()],
                members: &[2, 4],
                repeat: 9,
                warm_up: None,
                at_most: "60s",
                counters: &["/a".into(), "/b".into()],
                processes: &[7],
                out: Path::new("/rows.json"),
                quiet: true,
            },
        );
        assert_eq!(
            arguments(&command),
            "bench --text /text --bundle /bundle --tokens 256,1024 --cluster lab --device device-1 --multicast-interface eth0 --preset wifi-10 \
             --rungs 160,exact --members 2,4 --repeat 9 --at-most 60s --out /rows.json \
             --counters /a --counters /b --process 7 --quiet"
        );
    }

    #[test]
    fn a_cluster_without_multicast_meets_at_its_first_device() {
        let of = |name, listen| {
            let device = LabDevice {
                name,
                cluster: "lab-other",
                bundle: Path::new("/bundle"),
                discovery: Discovery::Connect("10.77.0.1:7451"),
                listen: Some(listen),
            };
            arguments(&lab_device(&binaries(), &provisioned(), &device))
        };
        assert_eq!(
            of("device-1", "10.77.0.1:7451"),
            "run --name device-1 --cluster lab-other --bundle /bundle --threads 1 --no-multicast --listen 10.77.0.1:7451"
        );
        assert_eq!(
            of("device-2", "10.77.0.2:7451"),
            "run --name device-2 --cluster lab-other --bundle /bundle --threads 1 --no-multicast --connect 10.77.0.1:7451 \
             --listen 10.77.0.2:7451"
        );
    }
}
