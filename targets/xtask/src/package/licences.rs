//! The crates of a device program and the licences they come with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::board::Board;
use crate::child;
use crate::stop::Stop;

/// Beginnings of the names of files that hold licences, in upper case.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"];
const PROGRAM: &str = "astra-edge";

/// `cargo metadata`, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// Every crate in the program of `board`, and every licence text they carry, once.
///
/// # Errors
/// cargo does not know the crates, or their sources are not here.
pub(super) fn gather(board: &Board, stop: &Stop) -> Result<String> {
    let mut command = crate::binaries::cargo();
    command
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", &board.triple]);
    let features = board.features();
    if !features.is_empty() {
        let names: Vec<String> = features
            .iter()
            .map(|feature| format!("{PROGRAM}/{feature}"))
            .collect();
        command.args(["--features", &names.join(",")]);
    }
    let output = child::capture(&mut command, stop, None, true, || ())?;
    let metadata: Metadata =
        serde_json::from_str(&output.stdout).context("what cargo metadata output")?;
    let crates = used(&metadata)?;
    Ok(write(&crates, &texts(&crates)?))
}

/// Crates that are compiled into the program, ours left out.
fn used(metadata: &Metadata) -> Result<Vec<&Package>> {
    let packages: BTreeMap<&str, &Package> = metadata
        .packages
        .iter()
        .map(|package| (package.id.as_str(), package))
        .collect();
    let nodes: BTreeMap<&str, &Node> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    let ours = |package: &&&Package| package.name == PROGRAM && package.source.is_none();
    let Some(program) = packages.values().find(ours) else {
        bail!("cargo metadata knows no package {PROGRAM}");
    };
    let mut seen = BTreeSet::new();
    let mut queue = vec![program.id.as_str()];
    while let Some(id) = queue.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).map_or(&[][..], |node| &node.deps);
        // Only what is built into it: no build scripts' and no tests' dependencies.
        let normal = dependencies
            .iter()
            .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        queue.extend(normal.map(|dependency| dependency.pkg.as_str()));
    }
    let mut crates: Vec<&Package> = seen
        .iter()
        .filter_map(|id| packages.get(id).copied())
        .filter(|package| package.source.is_some())
        .collect();
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(crates)
}

/// Licence texts and the crates that carry them.
fn texts(crates: &[&Package]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in crates {
        let folder = package.manifest_path.parent().unwrap_or(Path::new("."));
        let entries = fs::read_dir(folder)
            .with_context(|| format!("the sources of {}: {}", package.name, folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().to_uppercase();
            if !NAMES.iter().any(|start| name.starts_with(start)) || !entry.file_type()?.is_file() {
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
            let who = format!("{} {}", package.name, package.version);
            let carriers = texts.entry(text.trim().to_owned()).or_default();
            if carriers.last() != Some(&who) {
                carriers.push(who);
            }
        }
    }
    Ok(texts)
}

fn write(crates: &[&Package], texts: &BTreeMap<String, Vec<String>>) -> String {
    let mut out = String::from("Crates in the program astra-edge, and their licences\n\n");
    // Writing to a String cannot fail.
    for package in crates {
        let licence = package.license.as_deref().unwrap_or("see below");
        let _ = writeln!(out, "{} {}: {licence}", package.name, package.version);
    }
    for (text, carriers) in texts {
        let _ = write!(
            out,
            "\n{}\n{}\n\n{text}\n",
            "-".repeat(72),
            carriers.join(", ")
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_is_listed_and_nothing_else() {
        let board = Board::load("x86-64").unwrap();
        let text = gather(&board, &Stop::default()).unwrap();
        let (list, texts) = text.split_once("\n---").unwrap();
        for wanted in ["\nzenoh ", "\nort ", "\nserde "] {
            assert!(list.contains(wanted), "{wanted} is missing");
        }
        for unwanted in [
            "\nproptest ",
            "\nastra-wire ",
            "\ncandle-core ",
            "\nplotters ",
        ] {
            assert!(!list.contains(unwanted), "{unwanted} is not compiled in");
        }
        assert!(texts.contains("Permission is hereby granted"));
    }
}
