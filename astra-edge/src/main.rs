//! The program `astra-edge`: runs a device, sends requests to a cluster, lists its devices.

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
