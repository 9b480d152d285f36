//! The command lines of devices and of the client that measures them in the lab.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::binaries::Binaries;
use crate::child;
use crate::provision::Provisioned;
use crate::stop::Stop;

use super::{device, program};

/// Rows have limits of their own; this one is for a client that hangs.
const BENCH_LIMIT: Duration = Duration::from_secs(3600);

/// What is sent.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    Photo(&'a Path),
    /// Prompts of some lengths, cut out of a file and counted by the tokenizer of a bundle.
    Text {
        file: &'a Path,
        tokens: &'a [u16],
        bundle: &'a Path,
    },
}

/// One bench of a cluster.
#[derive(Debug)]
pub(crate) struct LabBench<'a> {
    pub(crate) input: Input<'a>,
    pub(crate) cluster: &'a str,
    pub(crate) device: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) preset: &'a str,
    pub(crate) rungs: &'a [String],
    pub(crate) members: &'a [u8],
    pub(crate) repeat: usize,
    pub(crate) at_most: &'a str,
    /// Folders of the kernel's counters, one a device.
    pub(crate) counters: &'a [PathBuf],
    /// The devices.
    pub(crate) processes: &'a [u32],
    /// Where the rows go.
    pub(crate) out: &'a Path,
    /// No table for people.
    pub(crate) quiet: bool,
}

/// The command that runs one device with one computing thread, found on `interface`.
pub(crate) fn lab_device(
    binaries: &Binaries,
    provisioned: &Provisioned,
    name: &str,
    cluster: &str,
    bundle: &Path,
    interface: &str,
) -> Command {
    let mut command = device(binaries, provisioned, name, cluster, bundle);
    command.args(["--threads", "1", "--multicast-interface", interface]);
    command
}

/// One baseline run on some devices.
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
    /// A file, and how many tokens a prompt out of it has.
    pub(crate) text: Option<(&'a Path, u64)>,
    pub(crate) counters: &'a [PathBuf],
    pub(crate) out: &'a Path,
}

/// The command that runs the device of one rank.
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

/// The command that measures what the steps of a request take.
pub(crate) fn lab_profile(
    binaries: &Binaries,
    provisioned: &Provisioned,
    bundle: &Path,
    rungs: &[String],
    photo: Option<&Path>,
    profile: &Path,
) -> Command {
    let mut command = program(&binaries.edge, provisioned);
    command
        .args(["plan", "--bundle"])
        .arg(bundle)
        .args(["--rungs", &rungs.join(","), "--save"])
        .arg(profile);
    if let Some(photo) = photo {
        command.arg("--image").arg(photo);
    }
    command
}

/// A request to predict.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) profile: &'a Path,
    pub(crate) devices: u64,
    pub(crate) tokens: u64,
    pub(crate) rung: &'a str,
    pub(crate) mbps: f64,
    pub(crate) cores: f64,
    pub(crate) shared_medium: bool,
}

/// The command that predicts one.
pub(crate) fn plan_case(
    binaries: &Binaries,
    provisioned: &Provisioned,
    case: &Case<'_>,
) -> Command {
    let mut command = program(&binaries.edge, provisioned);
    command
        .args(["plan", "--json", "--profile"])
        .arg(case.profile)
        .args(["--devices", &case.devices.to_string()])
        .args(["--tokens", &case.tokens.to_string()])
        .args(["--rungs", case.rung])
        .args(["--mbps", &case.mbps.to_string()])
        .args(["--cores", &case.cores.to_string()]);
    if case.shared_medium {
        command.arg("--shared-medium");
    }
    command
}

/// The command that measures.
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
    command
        .args(["--cluster", bench.cluster, "--device", bench.device])
        .args(["--multicast-interface", bench.interface])
        .args(["--preset", bench.preset])
        .args(["--rungs", &bench.rungs.join(",")])
        .args(["--members", &members.join(",")])
        .args(["--repeat", &bench.repeat.to_string()])
        .args(["--at-most", bench.at_most])
        .arg("--out")
        .arg(bench.out);
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

/// Runs a bench to its end; what it shows goes to standard output.
pub(crate) fn run_bench(command: &mut Command, stop: &Stop) -> Result<()> {
    let status = child::Running::spawn(command)?.wait(stop, Some(BENCH_LIMIT), || ())?;
    if !status.success() {
        bail!("the program that measures failed ({status})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::tests::{binaries, provisioned};

    #[test]
    fn a_bench_is_told_everything() {
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
                interface: "eth0",
                preset: "wifi-10",
                rungs: &["160".to_owned(), "exact".to_owned()],
                members: &[2, 4],
                repeat: 9,
                at_most: "60s",
                counters: &["/a".into(), "/b".into()],
                processes: &[7],
                out: Path::new("/rows.json"),
                quiet: true,
            },
        );
        let arguments: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(
            arguments.join(" "),
            "bench --text /text --bundle /bundle --tokens 256,1024 --cluster lab --device device-1 --multicast-interface eth0 --preset wifi-10 \
             --rungs 160,exact --members 2,4 --repeat 9 --at-most 60s --out /rows.json \
             --counters /a --counters /b --process 7 --quiet"
        );
    }
}
