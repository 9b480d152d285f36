//! The command line. Answers go to standard output, everything else to standard error.

mod export;
mod info;
mod progress;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde::Serialize;

/// Turns a pretrained vision Transformer into a bundle that astra-edge devices run.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(export::Export),
    Info(info::Info),
}

/// How ONNX Runtime is found and used.
#[derive(Debug, clap::Args)]
struct RuntimeOptions {
    /// ONNX Runtime library; else $ORT_DYLIB_PATH, else the one in the cache folder, else the system's
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// Threads that compute; 0 for one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl Cli {
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Export(command) => command.run(),
            Command::Info(command) => command.run(),
        }
    }
}

/// Prints an answer as one JSON object.
fn print_json(answer: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(answer).context("cannot write the answer as JSON")?;
    print_text(&text)
}

/// Prints an answer; a reader that went away is no failure.
fn print_text(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
