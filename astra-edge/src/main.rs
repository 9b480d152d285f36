//! The program `astra-edge`: runs a device, asks a cluster, shows who is in it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
