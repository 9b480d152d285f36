//! `cargo xtask`: every command a person needs to work on this project.
//!
//! Layers, lowest first:
//! - `stop`, `folder` and `progress`: an interruption, what lies in a folder, what people see of long steps
//! - `child`: processes that end with this one
//! - `binaries`: this project's programs, built in release
//! - `provision`: ONNX Runtime, models and photographs, fetched and checked
//! - `devices`: device processes with logs of their own, and `report`: what a request took
//! - `edge`: the command lines and answers of this project's own programs
//! - `bundle`: bundles in the cache, exported if need be, and `openai`: the client that a test sends requests with
//! - `board`: boards, `cross`: programs built for them, and `emulation`: how those run on this machine
//! - `package`, `size`: what becomes of those
//! - `trial`: a board's programs tried on this machine
//! - `workspace_crates`: the crates of the workspace, `layers` and `lengths`: how their files hang together, and how long they are
//! - `checks`: the tests of the workspace
//! - `ci`: what a change has to pass
//! - `bench_report`, `netlab`: measurements in a network on this machine, and `demo`: one request from nothing
//! - `cli`: the command line

use std::fmt::Write as _;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use anyhow::Result;
use clap::Parser;

mod bench_report;
mod binaries;
mod board;
mod bundle;
mod checks;
mod child;
mod ci;
mod cli;
mod cross;
mod demo;
mod devices;
mod edge;
mod emulation;
mod folder;
mod layers;
mod lengths;
mod netlab;
mod openai;
mod package;
mod progress;
mod provision;
mod report;
mod size;
mod stop;
mod trial;
mod workspace_crates;

use cli::{Cli, Command};
use cross::Profile;
use provision::Needs;
use stop::{Interrupted, Stop};

/// 128 and the number of SIGINT, as shells report it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("{error:#}");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    match &cli.command {
        Command::Provision => {
            let provisioned = provision::provision(Needs::Images, &stop)?;
            print!("{}", exports(&provisioned.variables()));
        }
        Command::Demo(args) => demo::run(args, &stop)?,
        Command::Netlab(args) => return netlab::run(args, &stop).map(exit_code),
        Command::BenchReport(args) => bench_report::run(args)?,
        Command::NetlabCleanup => netlab::clean_up_after_parent()?,
        Command::NetlabPreemptionTimer => netlab::run_preemption_timer()?,
        Command::Test {
            target: Some(target),
            package,
            ..
        } => {
            let skips = trial::run(&board::Board::load(target)?, *package, &stop)?;
            println!("{}", astra_skips::summary(&skips));
        }
        Command::Test { arguments, .. } => {
            return Ok(exit_code(checks::test(arguments, &stop)?.status));
        }
        Command::Boards => {
            for board in board::Board::all()? {
                println!("{board}");
            }
        }
        Command::Build { target } => build(target, &stop)?,
        Command::Package { target } => pack(target, &stop)?,
        Command::Size {
            target,
            save,
            parts,
            json,
        } => {
            let boards = match target {
                Some(name) => vec![board::Board::load(name)?],
                None => board::Board::all()?,
            };
            let options = size::Options {
                save: *save,
                parts: *parts,
                json: *json,
            };
            size::run(&boards, options, &stop)?;
        }
        Command::Ci(args) => ci::run(args, &stop)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn build(target: &str, stop: &Stop) -> Result<()> {
    let board = board::Board::load(target)?;
    let built = cross::build(&board, Profile::Dist, stop)?;
    println!(
        "{} for {}, built with {}",
        sized(&built.edge)?,
        board.description,
        built.toolchain.describe()
    );
    Ok(())
}

fn pack(target: &str, stop: &Stop) -> Result<()> {
    let board = board::Board::load(target)?;
    let packed = package::run(&board, stop)?;
    for path in [&packed.deb, &packed.tarball] {
        println!("{}", sized(path)?);
    }
    println!("for {}, built with {}", board.description, packed.toolchain);
    Ok(())
}

/// A file and its size, for people.
fn sized(path: &Path) -> Result<String> {
    let megabytes = std::fs::metadata(path)?.len() as f64 / 1e6;
    Ok(format!("{} ({megabytes:.1} MB)", path.display()))
}

/// A child's status as this program's own.
fn exit_code(status: ExitStatus) -> ExitCode {
    match status.code().map(u8::try_from) {
        Some(Ok(code)) => ExitCode::from(code),
        _ => ExitCode::FAILURE,
    }
}

/// Lines that set the variables in a POSIX shell.
fn exports(variables: &[(&str, &Path)]) -> String {
    let mut lines = String::new();
    for (name, value) in variables {
        let quoted = value.display().to_string().replace('\'', r"'\''");
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "export {name}='{quoted}'");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_is_exported() {
        let lines = exports(&[
            ("A", Path::new("/plain")),
            ("B", Path::new("/it's $HOME \"x\"")),
        ]);
        let script = format!("{lines}printf '%s|%s' \"$A\" \"$B\"");
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "/plain|/it's $HOME \"x\""
        );
    }
}
