//! The program `astra-edge`: runs a device, asks a cluster, shows who is in it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet.
    unsafe {
        astra_model::engine::disable_telemetry();
        astra_edge::link::share_threads();
    }
    cli::main()
}
