//! The tests of the workspace, with all that they need.

use std::process::ExitStatus;

use anyhow::{Context, Result};
use astra_skips::Skip;

use crate::binaries::{self, cargo};
use crate::bundle::Recipe;
use crate::provision::Needs;
use crate::stop::Stop;
use crate::{bundle, child, openai, provision};

/// Side of the input of the bundle that tests run on, pixels.
const TEST_SIZE: usize = 224;

/// What became of the tests.
#[derive(Debug)]
pub(crate) struct Tested {
    /// Cargo's.
    pub(crate) status: ExitStatus,
    /// Tests that found that they cannot run here.
    pub(crate) skips: Vec<Skip>,
}

/// Provisions, exports the bundles that tests run on if they are not there, then runs the tests and says which were skipped.
pub(crate) fn test(arguments: &[String], stop: &Stop) -> Result<Tested> {
    let provisioned = provision::provision(Needs::All, stop)?;
    let recipes = [
        Recipe::images(&provisioned, TEST_SIZE),
        Recipe::language(&provisioned),
        Recipe::sentences(&provisioned),
    ];
    // The programs are built in release only where a bundle has to be exported.
    let missing = |recipe: &&Recipe| !bundle::is_ready(recipe, &provisioned);
    let missing: Vec<_> = recipes.iter().filter(missing).collect();
    if !missing.is_empty() {
        let binaries = binaries::build(stop)?;
        for recipe in missing {
            bundle::ensure(recipe, &provisioned, &binaries, false, stop)?;
        }
    }
    openai::ensure(&provisioned.cache, stop)?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let skipped = folder.path().join("skipped");
    let mut command = cargo();
    // At the root of the workspace this is all of it; with --workspace, cargo would overlook `-p`.
    command
        .arg("test")
        .args(arguments)
        .envs(provisioned.variables())
        .env(astra_skips::FILE, &skipped);
    let status = child::run(&mut command, stop)?;
    let skips = astra_skips::read(&skipped).context("the list of skipped tests")?;
    println!("{}", astra_skips::summary(&skips));
    Ok(Tested { status, skips })
}
