//! Turns a pretrained Transformer into an astra-edge bundle.

mod cli;

use std::process::ExitCode;

use astra_model::error_line::error_line;
use clap::Parser;

/// Candle's variable for the threads of operations on single values.
const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet.
    unsafe { astra_model::engine::disable_telemetry() };
    // Training computes an input a thread. Candle's own threads, shared by all of these, would wait for one another and spin.
    if std::env::var_os(CANDLE_THREADS).is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var(CANDLE_THREADS, "1") };
    }
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
