//! The command line. Results go to standard output, everything else to standard error.

mod export;
mod info;
mod progress;
mod rungs;
mod tune;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use astra_model::engine::Runtime;
use astra_model::paths::cache_dir;
use clap::{Parser, Subcommand};
use serde::Serialize;

/// Export a pretrained Transformer as a bundle that astra-edge devices run.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(export::Export),
    Verify(verify::Verify),
    Tune(tune::Tune),
    Info(info::Info),
}

/// How ONNX Runtime is found and used.
#[derive(Debug, clap::Args)]
struct RuntimeOptions {
    /// ONNX Runtime library [default: $ORT_DYLIB_PATH, the cache, the system's]
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// Threads that compute; 0 for one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl RuntimeOptions {
    fn load(&self) -> Result<Runtime> {
        Ok(Runtime::load(self.onnxruntime.as_deref(), self.threads)?)
    }
}

/// The folder of the demo's photographs.
fn demo_photographs() -> Result<PathBuf> {
    let folder = cache_dir().map(|cache| cache.join("photographs"));
    match folder {
        Some(folder) if folder.is_dir() => Ok(folder),
        Some(folder) => bail!(
            "{}: the demo's photographs are not there; name a folder of photographs, or run `cargo xtask provision`",
            folder.display()
        ),
        None => bail!(
            "no home folder to look for the demo's photographs in; name a folder of photographs"
        ),
    }
}

impl Cli {
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Export(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Tune(command) => command.run(),
            Command::Info(command) => command.run(),
        }
    }
}

/// Prints a result as one JSON object.
fn print_json(answer: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(answer).context("cannot write the answer as JSON")?;
    print_text(&text)
}

/// Prints a result; a closed pipe is not an error.
fn print_text(text: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
