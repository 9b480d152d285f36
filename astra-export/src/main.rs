//! Turns a pretrained Transformer into an astra-edge bundle.

mod cli;

use std::process::ExitCode;

use astra_model::error_line::error_line;
use clap::Parser;

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet.
    unsafe { astra_model::engine::disable_telemetry() };
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
