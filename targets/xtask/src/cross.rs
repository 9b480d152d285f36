//! Device programs for a board: which Rust builds them, and the build.
//!
//! A toolchain of rustup's with the board's standard library is used where there is one or rustup can fetch it, which is what most
//! people have. Where it cannot, Debian's own cross packages do: `rustc-web`, `cargo-web`, the architecture's
//! `libstd-rust-web-dev` and a cross gcc.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::binaries::workspace;
use crate::board::Board;
use crate::child;
use crate::stop::Stop;

/// Where Debian's packages put their Rust.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The Rust that builds for a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The one in use, with the board's standard library.
    Rustup,
    /// Debian's packages.
    Debian,
}

/// A device program, built.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) edge: PathBuf,
    /// The same with its symbols.
    pub(crate) whole: PathBuf,
    pub(crate) toolchain: Toolchain,
}

impl Toolchain {
    /// Its name in messages.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Rustup => "the toolchain in use",
            Self::Debian => "Debian's cross packages",
        }
    }

    /// Finds one that builds for `board`.
    fn find(board: &Board, stop: &Stop) -> Result<Self> {
        if board.is_native() || has_standard_library(&rustc(), &board.triple) {
            return Ok(Self::Rustup);
        }
        eprintln!("asking rustup for the standard library of {}", board.triple);
        let mut add = Command::new("rustup");
        add.args(["target", "add", &board.triple]);
        if child::run(&mut add, stop).is_ok_and(|status| status.success()) {
            return Ok(Self::Rustup);
        }
        if Path::new(DEBIAN_CARGO).exists()
            && has_standard_library(Path::new(DEBIAN_RUSTC), &board.triple)
        {
            return Ok(Self::Debian);
        }
        let architecture = board.debian_architecture().unwrap_or("?");
        bail!(
            "no Rust here builds for {}, and rustup cannot fetch it. With Debian's packages (as root): \
             dpkg --add-architecture {architecture}; apt-get update; \
             apt-get install rustc-web cargo-web libstd-rust-web-dev:{architecture} {}",
            board.triple,
            debian_gcc(board),
        )
    }

    fn cargo(&self) -> Command {
        match self {
            Self::Rustup => crate::binaries::cargo(),
            Self::Debian => {
                let mut command = Command::new(DEBIAN_CARGO);
                command.current_dir(workspace()).env("RUSTC", DEBIAN_RUSTC);
                command
            }
        }
    }
}

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For devices: slow to build, small.
    Dist,
    /// For tests: built quickly.
    Test,
}

impl Profile {
    /// What cargo calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Dist => "dist",
            Self::Test => "dev",
        }
    }

    /// Its folder beside cargo's others.
    fn folder(self) -> &'static str {
        match self {
            Self::Dist => "dist",
            Self::Test => "debug",
        }
    }
}

/// Builds `astra-edge` for `board`. For devices it is stripped: what is left out is only of use to debuggers, and stays beside it.
///
/// # Errors
/// No Rust or linker for the board is here (the error says what to install), or the build fails.
pub(crate) fn build(board: &Board, profile: Profile, stop: &Stop) -> Result<Built> {
    let (toolchain, mut command) = ready(board, "build", profile, stop)?;
    command.args(["--package", "astra-edge", "--bin", "astra-edge"]);
    let features = board.features();
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    let _alone = lock()?;
    child::run_to_success(&mut command, stop)?;
    let built = target_dir()
        .join(&board.triple)
        .join(profile.folder())
        .join("astra-edge");
    let place = folder(board).join(profile.folder());
    let whole = place.join("astra-edge");
    fs::create_dir_all(&place)
        .and_then(|()| fs::copy(&built, &whole))
        .with_context(|| format!("cannot copy {} to {}", built.display(), whole.display()))?;
    let edge = match profile {
        Profile::Dist => strip(board, &whole, stop)?,
        Profile::Test => whole.clone(),
    };
    Ok(Built {
        edge,
        whole,
        toolchain,
    })
}

/// Held from a build until its program is copied: boards of one triple are built into one place.
fn lock() -> Result<File> {
    let path = target_dir().join("xtask.lock");
    let held = || {
        fs::create_dir_all(target_dir())?;
        let file = File::create(&path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    };
    held().with_context(|| format!("cannot lock {}", path.display()))
}

/// Runs the tests of `packages` as programs of `board`, each by `runner`.
///
/// # Errors
/// As [`build`], or a test fails.
pub(crate) fn test(board: &Board, packages: &[&str], runner: &Path, stop: &Stop) -> Result<()> {
    let (_, mut command) = ready(board, "test", Profile::Test, stop)?;
    for package in packages {
        command.args(["--package", package]);
    }
    // Not their documentation: rustdoc may be of another Rust than the one that has the board's standard library.
    command
        .arg("--tests")
        .env(variable(board, "RUNNER"), runner);
    child::run_to_success(&mut command, stop)
}

/// A cargo command for `board`, once everything it needs is known to be here.
fn ready(
    board: &Board,
    subcommand: &str,
    profile: Profile,
    stop: &Stop,
) -> Result<(Toolchain, Command)> {
    let toolchain = Toolchain::find(board, stop)?;
    if !on_path(&board.linker) {
        bail!(
            "{} is not here, which links for {}: as root, apt-get install {}",
            board.linker,
            board.description,
            debian_gcc(board)
        );
    }
    eprintln!(
        "building for {} with {}",
        board.description,
        toolchain.describe()
    );
    let mut command = toolchain.cargo();
    command
        .args([subcommand, "--locked", "--profile", profile.name()])
        .args(["--target", &board.triple, "--target-dir"])
        .arg(target_dir())
        // The caller's flags would stand in the place of the board's.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .envs(variables(board));
    Ok((toolchain, command))
}

/// Copies a program without what only debuggers read.
fn strip(board: &Board, whole: &Path, stop: &Stop) -> Result<PathBuf> {
    let stripped = folder(board).join("astra-edge");
    let mut command = Command::new(board.tool("strip"));
    command.arg("-o").arg(&stripped).arg(whole);
    child::run_to_success(&mut command, stop)?;
    Ok(stripped)
}

/// What was made for a board.
pub(crate) fn folder(board: &Board) -> PathBuf {
    workspace().join("target/boards").join(&board.name)
}

/// Where cargo builds for all boards: what runs while it builds is the same for each.
fn target_dir() -> PathBuf {
    workspace().join("target/boards/build")
}

/// What cargo and build scripts look at for the linker and the processor.
fn variables(board: &Board) -> Vec<(String, OsString)> {
    let lower = board.triple.replace('-', "_");
    let mut variables = vec![
        (variable(board, "LINKER"), OsString::from(&board.linker)),
        (format!("CC_{lower}"), OsString::from(&board.linker)),
    ];
    if let Some(cpu) = &board.cpu {
        let flags = format!("-Ctarget-cpu={cpu}");
        variables.push((variable(board, "RUSTFLAGS"), flags.into()));
    }
    variables
}

/// Name of the variable by which cargo takes a setting of the board's triple.
fn variable(board: &Board, setting: &str) -> String {
    let triple = board.triple.to_uppercase().replace('-', "_");
    format!("CARGO_TARGET_{triple}_{setting}")
}

/// The compiler in use.
pub(crate) fn rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from)
}

/// Whether a compiler has the standard library of `triple`.
fn has_standard_library(rustc: &Path, triple: &str) -> bool {
    has_library(rustc, triple, "libstd-")
}

/// Whether a compiler has a library of Rust's own for `triple`, by the first part of its file's name.
pub(crate) fn has_library(rustc: &Path, triple: &str, prefix: &str) -> bool {
    let output = Command::new(rustc)
        .current_dir(workspace())
        .args(["--print", "target-libdir", "--target", triple])
        .output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return false;
    };
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
}

fn debian_gcc(board: &Board) -> String {
    let triple = board.triple.replace("-unknown-", "-");
    format!("gcc-{}", triple.replace('_', "-"))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_decides_linker_and_processor() {
        let board = Board::load("raspberry-pi-4").unwrap();
        let variables = variables(&board);
        let value = |name: &str| {
            let found = variables.iter().find(|(found, _)| found == name);
            found.map(|(_, value)| value.to_string_lossy().into_owned())
        };
        let linker = value("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER");
        assert_eq!(linker.as_deref(), Some("aarch64-linux-gnu-gcc"));
        let flags = value("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS");
        assert_eq!(flags.as_deref(), Some("-Ctarget-cpu=cortex-a72"));
        assert!(value("CC_aarch64_unknown_linux_gnu").is_some());
        assert_eq!(debian_gcc(&board), "gcc-aarch64-linux-gnu");
    }

    #[test]
    fn every_board_has_a_processor_that_the_compiler_knows() {
        // It only warns of another, and builds for any of the triple.
        for board in Board::all().unwrap() {
            let Some(cpu) = &board.cpu else { continue };
            let output = Command::new(rustc())
                .args(["--print", "target-cpus", "--target", &board.triple])
                .output()
                .unwrap();
            let known = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut names = known.split_whitespace();
            assert!(names.any(|name| name == cpu), "{}: {cpu}", board.name);
        }
    }

    #[test]
    fn this_machine_has_its_own_standard_library_and_no_invented_one() {
        let here = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        assert!(has_standard_library(&rustc(), &here));
        assert!(!has_standard_library(&rustc(), "z80-unknown-cpm"));
    }
}
