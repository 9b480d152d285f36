//! `cargo xtask test --target BOARD`: a board's programs, tried on this machine.
//!
//! - `cluster`: devices and requests to them
//! - `boards`: throw-away roots that scripts reach as they reach boards
//! - `fleet`: install.sh and update.sh on them
//! - `root`: a Debian system of the board's architecture, and its package in it

mod boards;
mod cluster;
mod fleet;
mod root;

use std::path::Path;

use anyhow::{Result, bail};
use astra_skips::Skip;

use crate::board::Board;
use crate::bundle::Recipe;
use crate::cross::{self, Profile};
use crate::emulation::Emulator;
use crate::provision::{self, Needs};
use crate::stop::Stop;
use crate::{binaries, bundle};

use cluster::{Answer, Cluster, Program, RequestReport};

/// Packages whose tests run as programs of the board: they need neither ONNX Runtime nor a network.
const PACKAGES: [&str; 3] = ["astra-wire", "astra-codec", "astra-bundle"];
/// Side of the input of the bundle that devices run on, pixels.
const SIZE: usize = 224;
/// What exact mode may differ by: float32 rounding, in other orders.
const EXACT: f32 = 1e-3;
/// Class token cosine of a photograph that the bundle was not calibrated on, at the rung that devices choose: that of 160 bits, the
/// fewest they choose where the promised quality is kept.
const COSINE: f64 = 0.97;

/// What a trial is made with.
struct Bench<'a> {
    board: &'a Board,
    /// The board's program.
    there: Program,
    /// This machine's.
    here: Program,
    bundle: &'a Path,
    photo: &'a Path,
    /// The one-device answer of this machine.
    wanted: Answer,
    stop: &'a Stop,
}

/// Runs the tests of wire, codec and bundle as programs of the board, then clusters of its devices and, for a board like this
/// machine, the scripts that install and update; with `package`, the package in a system of the board's architecture instead. What could not be tried is returned.
///
/// # Errors
/// Something is missing here (the error says what to install), or a check fails.
pub(crate) fn run(board: &Board, package: bool, stop: &Stop) -> Result<Vec<Skip>> {
    let emulator = Emulator::find(board, &cross::folder(board))?;
    if let Some(runner) = emulator.runner().filter(|_| !package) {
        cross::test(board, &PACKAGES, runner, stop)?;
    }
    let provisioned = provision::provision(Needs::Images, stop)?;
    let library = provision::board_runtime(board.architecture(), stop)?.library;
    let programs = binaries::build(stop)?;
    let recipe = Recipe::images(&provisioned, SIZE);
    let bundle = bundle::ensure(&recipe, &provisioned, &programs, false, stop)?;
    // What this machine runs is built for it already.
    let edge = match emulator.runner() {
        Some(_) if !package => cross::build(board, Profile::Test, stop)?.edge,
        _ => programs.edge.clone(),
    };
    let here = Program {
        emulator: Emulator::none(),
        edge: programs.edge,
        library: provisioned.runtime.clone(),
    };
    let photo = provisioned.sample();
    let bench = Bench {
        board,
        wanted: alone(&here, &bundle, &photo, stop)?,
        there: Program {
            emulator,
            edge,
            library,
        },
        here,
        bundle: &bundle,
        photo: &photo,
        stop,
    };
    if package {
        root::run(&bench)?;
        return Ok(Vec::new());
    }
    bench.clusters()?;
    let skip = match board.is_native() {
        true => bench.fleet()?,
        false => None,
    };
    Ok(skip.into_iter().collect())
}

impl Bench<'_> {
    /// Two devices of the board, in exact mode and with codes; then one of them and one of this machine.
    fn clusters(&self) -> Result<()> {
        let mut cluster = Cluster::new(&self.here, self.photo, self.stop)?;
        cluster.start("a", &self.there, self.bundle)?;
        cluster.start("b", &self.there, self.bundle)?;
        let took = cluster.wait()?.as_secs_f64();
        self.say(&format!("two devices see each other after {took:.0} s"));
        let (report, answer) = cluster.infer(Some("exact"), "128,128", &[])?;
        members(&report, &[("a", 128), ("b", 128)])?;
        self.exact("two devices", &report, &answer)?;
        if self.there.emulator.runner().is_some() {
            cluster.maps_weights()?;
        }
        self.coded(&mut cluster)?;

        cluster.stop("b");
        cluster.start("here", &self.here, self.bundle)?;
        cluster.wait()?;
        let (report, answer) = cluster.infer(Some("exact"), "100,156", &[])?;
        members(&report, &[("a", 100), ("here", 156)])?;
        self.exact("one device and this machine", &report, &answer)
    }

    /// With codes, the answer is as close as is promised.
    fn coded(&self, cluster: &mut Cluster<'_>) -> Result<()> {
        let (report, answer) = cluster.infer(None, "150,106", &[])?;
        members(&report, &[("a", 150), ("b", 106)])?;
        let cosine = self.wanted.cosine(&answer)?;
        let bits = report.rung_bits;
        if bits == 0 || !(COSINE..1.0).contains(&cosine) {
            bail!("at {bits} bits: class token cosine {cosine}, expected {COSINE} to less than 1");
        }
        self.say(&format!(
            "two devices at {bits} bits: class token cosine {cosine:.4}, {:.1} s",
            report.latency_ms / 1e3
        ));
        Ok(())
    }

    /// The scripts of deploy/, where roots can be entered.
    fn fleet(&self) -> Result<Option<Skip>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Some(Skip {
                test: "install.sh and update.sh".to_owned(),
                reason: "only root may enter a throw-away root".to_owned(),
            }));
        }
        fleet::run(self)?;
        Ok(None)
    }

    /// Refuses an answer of exact mode that is not this machine's own.
    fn exact(&self, who: &str, report: &RequestReport, answer: &Answer) -> Result<()> {
        let worst = self.wanted.worst(answer)?;
        if worst > EXACT || report.members.len() != 2 {
            bail!(
                "{who} in exact mode differ by {worst:e}, expected at most {EXACT:e}: {report:?}"
            );
        }
        self.say(&format!(
            "{who} in exact mode: largest difference {worst:.1e}, {:.1} s",
            report.latency_ms / 1e3
        ));
        Ok(())
    }

    fn say(&self, what: &str) {
        println!("{}: {what}", self.board.name);
    }
}

/// Refuses other members than these.
fn members(report: &RequestReport, wanted: &[(&str, u16)]) -> Result<()> {
    let found: Vec<(&str, u16)> = report
        .members
        .iter()
        .map(|member| (member.name.as_str(), member.tokens))
        .collect();
    if found != wanted {
        bail!("the members were {found:?}, expected {wanted:?}");
    }
    Ok(())
}

/// The one-device answer of this machine.
fn alone(here: &Program, bundle: &Path, photo: &Path, stop: &Stop) -> Result<Answer> {
    let file = tempfile::NamedTempFile::new()?;
    let mut command = here.command();
    command
        .args(["infer", "--alone", "--json", "--bundle"])
        .arg(bundle)
        .arg(photo)
        .arg("--answer")
        .arg(file.path());
    let output = crate::child::capture(&mut command, stop, None, true, || ())?;
    if !output.status.success() {
        bail!("astra-edge infer --alone failed ({})", output.status);
    }
    Answer::read(file.path())
}
