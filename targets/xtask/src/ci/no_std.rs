//! Proof that `astra-wire` and `astra-codec` need no standard library.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::command::call;
use super::{CiArgs, Outcome};
use crate::binaries::{cargo, workspace};
use crate::cross::has_library;
use crate::stop::Stop;

/// A program that links both without one: it has a panic handler of its own, which the standard library's would collide with.
const PROGRAM: &str = "targets/no-std/Cargo.toml";
/// Targets that have no standard library at all.
const BARE: [&str; 4] = [
    "thumbv7em-none-eabihf",
    "aarch64-unknown-none",
    "riscv32imac-unknown-none-elf",
    "x86_64-unknown-none",
];

/// Builds and runs the program on this machine, and builds both crates for each bare-metal target that is installed.
pub(super) fn run(_: &CiArgs, stop: &Stop) -> Result<Outcome> {
    share_lock(Path::new(PROGRAM))?;
    let mut program = cargo();
    program
        .args(["run", "--quiet", "--release", "--manifest-path", PROGRAM])
        .args(["--target-dir", "target/no-std"]);
    call(&mut program, stop)?;
    let rustc = crate::cross::rustc();
    for target in BARE
        .iter()
        .filter(|target| has_library(&rustc, target, "libcore-"))
    {
        let mut build = cargo();
        build
            .args([
                "build",
                "--lib",
                "--package",
                "astra-wire",
                "--package",
                "astra-codec",
            ])
            .args(["--target", target, "--target-dir", "target/no-std"]);
        call(&mut build, stop)?;
    }
    Ok(Outcome::Passed)
}

/// Gives a package outside of the workspace the workspace's versions of dependencies.
pub(super) fn share_lock(manifest: &Path) -> Result<()> {
    let lock = workspace().join(manifest).with_file_name("Cargo.lock");
    let copied = fs::copy(workspace().join("Cargo.lock"), &lock);
    copied.with_context(|| lock.display().to_string())?;
    Ok(())
}
