//! Which file of this workspace imports which: no circles, and no module imports one above it.
//!
//! An *import* is a `use`, or a path in code (`crate::a::b`, `super::b`, `astra_wire::Frame`, or a name that a `use` brought in),
//! and leads to the file that **defines** the item: re-exports are followed to their end. A method, variant or associated item
//! counts as its type. Not seen are calls of methods, and what stands in macros and in attributes.
//!
//! - What only tests compile (`#[cfg(test)]`, and the folders of tests) imports nothing.
//! - A module's file that only declares and re-exports its children is never imported, since it defines nothing, and imports nothing,
//!   since to re-export is to pass on. A module imported by its name alone is no import; what is used through it is.
//! - What a module takes from one that it is in (`super::Shared`) makes no circle: a file may define what its child modules share
//!   and call them. Any other import of a file with child modules and code of its own counts like that of any file.
//! - The order of modules is the list under the words "Layers, lowest first" in the documentation of a module, of `lib.rs` or
//!   `main.rs` above all: one layer a bullet, each a module or several between backticks. Every child module is in it once, and
//!   crates of more than [`UNLISTED`] modules have such a list. Modules of one layer may import each other.
//!
//! Layers, lowest first:
//! - `source`: the modules of a crate, what each defines and what it imports
//! - `resolve`: the module that defines what a path names
//! - `paths`: the paths that stand in the code of a module
//! - `circles`: files that import each other; `order`: lists of layers, and what breaks them

mod circles;
mod order;
mod paths;
mod resolve;
mod source;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::workspace_crates::{self, Crate};
use resolve::Resolver;
use source::{ModulePath, Modules};

/// A crate of as many modules needs no list of its layers.
const UNLISTED: usize = 3;

/// An item of one module that another uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: ModulePath,
    to: ModulePath,
    name: String,
}

/// Checks every library and program of the workspace; what they have is printed.
///
/// # Errors
/// Files import each other in a circle, or a list of layers is broken or missing; the error has a line for each.
pub(crate) fn run() -> Result<()> {
    let crates = workspace_crates::all()?;
    let problems = check(&crates)?;
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

/// One line for each thing wrong.
fn check(crates: &[Crate]) -> Result<Vec<String>> {
    let modules = Modules::read(crates)?;
    let resolver = Resolver::new(&modules);
    let mut imports: Vec<Import> = modules
        .iter()
        .flat_map(|module| paths::imports(module, &resolver))
        .collect();
    imports.sort_unstable();
    imports.dedup();
    let mut problems = circles::find(&modules, &imports);
    problems.extend(order::check(&modules, &imports));
    Ok(problems)
}

/// A file as problems name it.
fn shown(file: &std::path::Path) -> String {
    let root = crate::binaries::workspace();
    let shown: PathBuf = file.strip_prefix(root).unwrap_or(file).into();
    shown.display().to_string()
}
