//! `cargo xtask package`: what a board's owner installs, as a Debian package and as a tarball.
//!
//! - `tree`: the files, where a system keeps them
//! - `deb`: the tree as a Debian package
//! - `licences`: what the program is made of, and under which terms

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::binaries::workspace;
use crate::board::Board;
use crate::cross::{self, Profile};
use crate::stop::Stop;
use crate::{child, progress};

mod deb;
mod licences;
#[cfg(test)]
mod scripts_tests;
mod tree;

pub(crate) use tree::Tree;

/// What was packed.
#[derive(Clone, Debug)]
pub(crate) struct Packages {
    pub(crate) deb: PathBuf,
    pub(crate) tarball: PathBuf,
    pub(crate) toolchain: &'static str,
}

/// Builds and packs the device program of `board`.
///
/// # Errors
/// The build fails, or something is missing here; the error says what.
pub(crate) fn run(board: &Board, stop: &Stop) -> Result<Packages> {
    let built = cross::build(board, Profile::Dist, stop)?;
    let folder = cross::folder(board).join("package");
    // What an earlier run left must not get into this one's.
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let documents = documents(&folder.join("documents"), stop)?;
    let tree = Tree::lay(board, &built.edge, &documents, &folder.join("root"), stop)?;
    let bar = progress::spinner("packing");
    let deb = deb::pack(board, &tree, &folder, stop)?;
    let tarball = tarball(board, &tree, &folder, stop)?;
    bar.finish_and_clear();
    Ok(Packages {
        deb,
        tarball,
        toolchain: built.toolchain.describe(),
    })
}

/// Files laid out for a tarball, to be changed before they are packed.
#[derive(Debug)]
pub(crate) struct Unpacked<'a> {
    board: &'a Board,
    tree: Tree,
    folder: PathBuf,
}

impl<'a> Unpacked<'a> {
    /// The files of a package with `edge` as its program, below `folder`.
    pub(crate) fn of(board: &'a Board, edge: &Path, folder: PathBuf, stop: &Stop) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let documents = documents(&folder.join("documents"), stop)?;
        let tree = Tree::lay(board, edge, &documents, &folder.join("root"), stop)?;
        Ok(Self {
            board,
            tree,
            folder,
        })
    }

    /// Puts a script in the place of the program, which stays beside it as `astra-edge.real`.
    pub(crate) fn replace_program(&self, script: &str) -> Result<()> {
        self.tree.replace_program(script)
    }

    /// Packs the tarball, over one that is there.
    pub(crate) fn pack(&self, stop: &Stop) -> Result<PathBuf> {
        tarball(self.board, &self.tree, &self.folder, stop)
    }
}

/// The version of this project.
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Where the project lives.
fn homepage() -> &'static str {
    env!("CARGO_PKG_REPOSITORY")
}

/// Manual pages and completions, which the program's own definition of its command line writes.
fn documents(folder: &Path, stop: &Stop) -> Result<PathBuf> {
    let mut command = crate::binaries::cargo();
    command
        .args(["run", "--quiet", "--package", "astra-edge"])
        .args(["--example", "documents", "--"])
        .arg(folder);
    child::run_to_success(&mut command, stop)?;
    Ok(folder.to_owned())
}

/// The tree as one folder that works wherever it is unpacked.
fn tarball(board: &Board, tree: &Tree, folder: &Path, stop: &Stop) -> Result<PathBuf> {
    let name = format!("astra-edge-{}-{}", version(), board.name);
    let path = folder.join(format!("{name}.tar.gz"));
    let mut command = Command::new("tar");
    command
        .args([
            "--create",
            "--gzip",
            "--sort=name",
            "--owner=0",
            "--group=0",
        ])
        .args(["--numeric-owner", "--mode=u+rwX,go=rX"])
        // What lies in /usr of a system lies at the top here.
        .arg(format!("--transform=s,^usr,{name},"))
        .arg(format!("--transform=s,^etc,{name}/etc,"))
        .arg("--file")
        .arg(&path)
        .arg("--directory")
        .arg(tree.root())
        .args(["usr", "etc"]);
    child::run_to_success(&mut command, stop)?;
    Ok(path)
}

/// A file of this repository.
fn source(path: &str) -> PathBuf {
    workspace().join(path)
}
