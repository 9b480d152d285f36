//! Turns a pretrained Transformer into an astra-edge bundle.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet.
    unsafe { astra_edge::engine::disable_telemetry() };
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("astra-export: {error:#}");
            ExitCode::FAILURE
        }
    }
}
