//! Baselines for astra-edge: sequence, tensor and block parallelism, on its engine and its links.
//!
//! One process per device, started by hand or by `cargo xtask netlab --baseline`, all with the same arguments but `--rank`. They connect to
//! each other and run the methods one after another; the device of rank 0 measures and writes the results.
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
    /// Rank of this device, from 0
    #[arg(long, value_name = "N")]
    rank: usize,
    /// Methods to run
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', required = true)]
    methods: Vec<Method>,
    /// The image, for models that take images
    #[arg(long, value_name = "FILE")]
    photo: Option<PathBuf>,
    /// A text file to take a prompt from, for models that take text
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value_t = 1024)]
    tokens: usize,
    /// Measured requests for each method
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Requests before them that are not measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    warm_up: usize,
    /// Time after which no more requests of a method are started
    #[arg(long, value_name = "TIME", value_parser = astra_edge::config::parse_duration, default_value = "60s")]
    at_most: Duration,
    /// Median latency of one device, milliseconds, for the speedup
    #[arg(long, value_name = "MS")]
    one_device: Option<f64>,
    /// Folder of the kernel's counters of a network interface; can be repeated
    #[arg(long, value_name = "DIR")]
    counters: Vec<PathBuf>,
    /// Name of the link, for the results
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// File for the results of rank 0; standard output by default
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A method of parallelism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Tokens divided, float32 exchanged once a block
    SpF32,
    /// Tokens divided, float16 exchanged once a block
    SpF16,
    /// Heads and columns of the MLP divided, two ring all-reduces a block
    Tp,
    /// Sub-blocks in parallel, an all-gather after every block
    #[value(name = "bp-1")]
    Bp1,
    /// Sub-blocks in parallel, an all-gather after every fourth block
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

    /// Whether its outputs equal those of a single device.
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
