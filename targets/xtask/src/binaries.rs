//! Building this project's programs in release, and finding what was built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::child;
use crate::stop::Stop;

/// The programs of this project, built in release.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) edge: PathBuf,
    pub(crate) export: PathBuf,
}

/// The program that runs the baselines which a cluster is compared with.
pub(crate) const BASELINES: &str = "astra-baselines";

/// One line of `cargo build --message-format json`, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The cargo that runs this program, to be started in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Builds both programs; cargo's own output goes to standard error.
pub(crate) fn build(stop: &Stop) -> Result<Binaries> {
    let output = cargo_build(&["astra-edge", "astra-export"], stop)?;
    Ok(Binaries {
        edge: executable(&output, "astra-edge")?,
        export: executable(&output, "astra-export")?,
    })
}

/// Builds the program of the baselines.
pub(crate) fn build_baselines(stop: &Stop) -> Result<PathBuf> {
    executable(&cargo_build(&[BASELINES], stop)?, BASELINES)
}

/// What cargo says of the programs it built.
fn cargo_build(packages: &[&str], stop: &Stop) -> Result<String> {
    let mut command = cargo();
    command.args(["build", "--release", "--bins"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let output = child::capture(&mut command, stop, None, true, || ())?;
    if !output.status.success() {
        bail!("cargo build failed ({})", output.status);
    }
    Ok(output.stdout)
}

fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line)
            .with_context(|| format!("cargo build wrote a line that is not JSON: {line}"))?;
        if let (Some(target), Some(executable)) = (message.target, message.executable)
            && target.name == name
        {
            return Ok(executable);
        }
    }
    Err(anyhow!("cargo build made no program {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_what_cargo_says() {
        let output = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"astra_edge"},"executable":null}"#,
            "\n",
            r#"{"reason":"build-script-executed","package_id":"x"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"astra-edge"},"executable":"/t/astra-edge"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        assert_eq!(
            executable(output, "astra-edge").unwrap(),
            Path::new("/t/astra-edge")
        );
        let error = executable(output, "astra-export").unwrap_err().to_string();
        assert_eq!(error, "cargo build made no program astra-export");
        assert!(executable("Compiling", "astra-edge").is_err());
    }

    #[test]
    fn the_workspace_is_the_folder_of_its_manifest() {
        let manifest = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
