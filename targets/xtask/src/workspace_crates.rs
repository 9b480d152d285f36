//! The libraries and programs of this workspace, as cargo knows them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::binaries::cargo;

/// A library or a program.
#[derive(Clone, Debug)]
pub(crate) struct Crate {
    /// As code names a library; of a program, its name with what no path can hold.
    pub(crate) name: String,
    /// `lib.rs` or `main.rs`.
    pub(crate) root: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    src_path: PathBuf,
}

/// Every library and program of the workspace; neither tests, benches nor examples.
///
/// # Errors
/// cargo cannot read the workspace.
pub(crate) fn all() -> Result<Vec<Crate>> {
    let mut command = cargo();
    command.args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("the answer of cargo metadata")?;
    let targets = metadata
        .packages
        .into_iter()
        .flat_map(|package| package.targets);
    let crates = targets.filter_map(|target| {
        let is = |kind: &str| target.kind.iter().any(|found| found == kind);
        let name = match (is("lib"), is("bin")) {
            (true, _) => target.name.replace('-', "_"),
            (_, true) => format!("program {}", target.name),
            _ => return None,
        };
        Some(Crate {
            name,
            root: target.src_path,
        })
    });
    Ok(crates.collect())
}
