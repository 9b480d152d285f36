//! The tests of the workspace, and everything a change has to pass.

use std::process::ExitStatus;

use anyhow::Result;

use crate::binaries::{self, cargo};
use crate::bundle::Recipe;
use crate::provision::Needs;
use crate::stop::Stop;
use crate::{bundle, child, openai, provision};

/// Side of the input of the bundle that tests run on, pixels.
const TEST_SIZE: usize = 224;

/// Provisions, exports the bundles that tests run on if they are not there, then runs every test; the status is cargo's.
pub(crate) fn test(arguments: &[String], stop: &Stop) -> Result<ExitStatus> {
    let provisioned = provision::provision(Needs::All, stop)?;
    let binaries = binaries::build(stop)?;
    for recipe in [
        Recipe::images(&provisioned, TEST_SIZE),
        Recipe::language(&provisioned),
        Recipe::sentences(&provisioned),
    ] {
        bundle::ensure(&recipe, &provisioned, &binaries, false, stop)?;
    }
    openai::ensure(&provisioned.cache, stop)?;
    let mut command = cargo();
    // At the root of the workspace this is all of it; with --workspace, cargo would overlook `-p`.
    command
        .arg("test")
        .args(arguments)
        .envs(provisioned.variables());
    child::run(&mut command, stop)
}

/// Format, lints and tests, up to the first that fails; the status is that one's.
pub(crate) fn ci(stop: &Stop) -> Result<ExitStatus> {
    let lints = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    for arguments in [["fmt", "--all", "--check"].as_slice(), lints.as_slice()] {
        let status = child::run(cargo().args(arguments), stop)?;
        if !status.success() {
            return Ok(status);
        }
    }
    test(&[], stop)
}
