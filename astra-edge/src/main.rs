//! The program `astra-edge`: runs a device, asks a cluster, shows who is in it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    no_telemetry();
    cli::main()
}

/// Since 1.32, ONNX Runtime on Linux reports its use to its makers unless this is set before it is loaded; switching it off later
/// does not keep it from starting.
fn no_telemetry() {
    // SAFETY: no other thread runs yet, so none reads the environment meanwhile.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}
