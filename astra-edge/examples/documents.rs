//! Writes the manual pages and shell completions of `astra-edge` into a folder, for packages.
//!
//! An example, so that neither they nor what writes them is part of the program.

#[expect(dead_code, reason = "its commands are described here, not run")]
#[path = "../src/cli/mod.rs"]
mod cli;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap_complete::Shell;

const NAME: &str = "astra-edge";

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.context("usage: documents FOLDER")?;
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    clap_mangen::generate_to(cli::command(), &man)
        .with_context(|| format!("cannot write to {}", man.display()))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut cli::command(), NAME, &completions)
            .with_context(|| format!("cannot write to {}", completions.display()))?;
    }
    Ok(())
}
