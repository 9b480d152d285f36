//! The command line. Results go to standard output, everything else to standard error.

mod ask;
mod bench;
mod embed;
mod environment;
mod infer;
mod peers;
mod plan;
mod request;
mod run;
mod service;
mod settings;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use astra_edge::config::DEFAULT_LOG;
use astra_model::error_line::error_line;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// Runs one Transformer inference across several small devices.
///
/// Devices of one cluster find each other, split the tokens of each input, and send each other codes of them. Start a
/// device on every machine with `run`, then send requests to any of them: `infer` for pictures, `ask` and `embed` for text.
#[derive(Parser)]
#[command(name = "astra-edge", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// Each is described at its arguments: a description here would hide theirs.
#[derive(Subcommand)]
enum Command {
    Run(Box<run::Args>),
    Infer(Box<infer::Args>),
    Ask(Box<ask::Args>),
    Embed(Box<embed::Args>),
    Bench(Box<bench::Args>),
    Plan(Box<plan::Args>),
    Peers(peers::Args),
}

/// The definition of the command line, for what documents it.
#[allow(dead_code, reason = "the example `documents` uses it")]
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let matches = environment::matches(Cli::command());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let given = matches.subcommand().map(|(_, given)| given.clone());
    let given = given.unwrap_or_default();
    let done = match cli.command {
        Command::Run(args) => run::main(&args, &given),
        Command::Infer(args) => infer::main(*args),
        Command::Ask(args) => ask::main(*args),
        Command::Embed(args) => embed::main(*args),
        Command::Bench(args) => bench::main(&args),
        Command::Plan(args) => plan::main(&args),
        Command::Peers(args) => peers::main(&args, &given),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Logs on standard error.
fn log(filter: &str) -> Result<()> {
    log_or(filter, |expected| {
        anyhow!("--log: found {filter:?}, expected {expected}")
    })
}

/// Logs on standard error; `refuse` makes the error of a bad filter from what was expected.
fn log_or(filter: &str, refuse: impl FnOnce(&str) -> anyhow::Error) -> Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| refuse(&format!("a filter such as {DEFAULT_LOG:?}: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    // Zenoh moves work between threads, so there has to be more than one.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
}

/// One line of JSON on standard output.
fn print_json(value: &impl Serialize) -> Result<()> {
    print_line(&serde_json::to_string(value)?)
}

/// Text as it comes on standard output; whether there is still a reader.
fn print_piece(text: &str) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => {
            written.context("cannot write to standard output")?;
            Ok(true)
        }
    }
}

/// One text on standard output; a reader that has gone away is no error.
fn print_line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
