//! What astra-edge is measured beside: sequence, tensor and block parallelism, on its engine and its links.
//!
//! One process a device, started by hand or by `cargo xtask netlab --baseline`: all with the same arguments but `--rank`. They
//! connect to each other, run the methods one after another, and the first of them measures and writes the rows.
//!
//! Nothing of the product depends on this.
//!
//! Layers, lowest first:
//! - `mesh`: whole messages between any two devices
//! - `collective`: sums and pieces of all devices, over the mesh
//! - `weights`: the weights of a bundle by name, and `shards`: graphs of a part of each block
//! - `input`: a picture or a prompt, whole and in parts
//! - `parallel`: what all methods have in common
//! - `sequence` and `tensor`: the methods, each a function of an input
//! - `methods`: the methods by name
//! - `measure`: requests, and rows

mod collective;
mod input;
mod measure;
mod mesh;
mod methods;
mod parallel;
mod sequence;
mod shards;
mod tensor;
mod weights;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// Runs one device of a baseline.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// Directory of the exported model
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// Addresses of all devices, in the order of their ranks
    #[arg(
        long,
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        required = true
    )]
    addresses: Vec<SocketAddr>,
    /// Which of them this is, from 0
    #[arg(long, value_name = "N")]
    rank: usize,
    /// What to run
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', required = true)]
    methods: Vec<Method>,
    /// The picture, of models that see
    #[arg(long, value_name = "FILE")]
    photo: Option<PathBuf>,
    /// A file of text to cut a prompt out of, of models that read
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 1024)]
    tokens: usize,
    /// Requests measured for each row
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Requests before them that are not
    #[arg(long, value_name = "N", default_value_t = 1)]
    warm_up: usize,
    /// Time after which a row is content with the requests it has
    #[arg(long, value_name = "TIME", value_parser = astra_edge::config::parse_duration, default_value = "60s")]
    at_most: Duration,
    /// Median latency of one device, milliseconds, for the speedup
    #[arg(long, value_name = "MS")]
    one_device: Option<f64>,
    /// Folder of the kernel's counters of a device's interface; can be repeated
    #[arg(long, value_name = "DIR")]
    counters: Vec<PathBuf>,
    /// Name of the link, for the rows
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Where the first device writes the rows; standard output if not named
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A way to divide the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Tokens divided, float32 exchanged once a block
    SpF32,
    /// The same with float16
    SpF16,
    /// Heads and columns of the MLP divided, two ring all-reduces a block
    Tp,
    /// Sub-blocks side by side, an all-gather after every block
    #[value(name = "bp-1")]
    Bp1,
    /// The same after every fourth block
    #[value(name = "bp-4")]
    Bp4,
}

impl Method {
    fn measured(self) -> astra_edge::measure::requests::method::Method {
        use astra_edge::measure::requests::method::Method as Measured;
        match self {
            Self::SpF32 => Measured::SpF32,
            Self::SpF16 => Measured::SpF16,
            Self::Tp => Measured::Tp,
            Self::Bp1 => Measured::Bp1,
            Self::Bp4 => Measured::Bp4,
        }
    }

    /// Whether its answers are those of one device.
    fn is_exact(self) -> bool {
        !matches!(self, Self::Bp1 | Self::Bp4)
    }
}

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet.
    unsafe { astra_model::engine::disable_telemetry() };
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("error")
        .with_writer(std::io::stderr)
        .init();
    measure::run(args)
}
