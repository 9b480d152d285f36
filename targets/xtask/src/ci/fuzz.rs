//! The fuzz targets of `astra-wire`, built without cargo-fuzz, by the toolchain in use and without a sanitizer: there is no unsafe
//! code to watch, only panics, and the coverage that guides the inputs is LLVM's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::command::{call, capture_call};
use super::{CiArgs, Outcome};
use crate::binaries::{cargo, workspace};
use crate::cross::rustc;
use crate::stop::Stop;

const MANIFEST: &str = "astra-edge/wire/fuzz/Cargo.toml";
/// What cargo-fuzz asks the compiler for, without a sanitizer.
const FLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

#[derive(Deserialize)]
struct Manifest {
    bin: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    name: String,
}

/// Builds all targets and runs each for the time given. What they find stays in `target/fuzz`.
pub(super) fn run(args: &CiArgs, stop: &Stop) -> Result<Outcome> {
    let text = fs::read_to_string(workspace().join(MANIFEST)).context(MANIFEST)?;
    let manifest: Manifest = toml::from_str(&text).context(MANIFEST)?;
    let host = host()?;
    let mut build = cargo();
    build
        .args(["build", "--release", "--manifest-path", MANIFEST])
        // Named, so that build scripts and macros are not instrumented.
        .args(["--target", &host, "--target-dir", "target/fuzz"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS.join(" "));
    super::no_std::share_lock(Path::new(MANIFEST))?;
    call(&mut build, stop)?;
    for Program { name } in &manifest.bin {
        let corpus = workspace().join("target/fuzz/corpus").join(name);
        fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
        let program = workspace().join("target/fuzz").join(&host).join("release");
        let mut fuzz = Command::new(program.join(name));
        fuzz.arg(format!("-max_total_time={}", args.fuzz_seconds))
            .args(["-verbosity=0", "-print_final_stats=1", "-timeout=10"])
            .arg("-artifact_prefix=target/fuzz/")
            .arg(corpus)
            .current_dir(workspace());
        let output = capture_call(&mut fuzz, stop)?;
        let counts = output
            .lines()
            .find(|line| line.contains("number_of_executed_units"));
        eprintln!("{name}: {}", counts.unwrap_or("found no count of inputs"));
    }
    Ok(Outcome::Passed)
}

/// The triple that the compiler builds for by default.
fn host() -> Result<String> {
    let output = Command::new(rustc())
        .args(["--print", "host-tuple"])
        .current_dir(workspace())
        .output()
        .context("rustc")?;
    if !output.status.success() {
        bail!("rustc --print host-tuple: failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
