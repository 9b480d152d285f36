//! OpenAI's client for Python, in a folder of the cache that `PYTHONPATH` is to name: a test sends requests with it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::provision::Cache;
use crate::stop::Stop;
use crate::{child, progress};

/// What is installed, to the version.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Its folder in the cache.
const FOLDER: &str = "openai";
/// A copy of [`REQUIREMENTS`] and the Python they are for, written once everything is installed.
const MARKER: &str = "requirements.txt";

/// Installs the client, unless it is there as wanted.
pub(crate) fn ensure(cache: &Cache, stop: &Stop) -> Result<()> {
    let _lock = cache.lock(stop)?;
    // Compiled parts of packages are of one version of Python.
    let python = run(Command::new("python3").arg("--version"), stop)?;
    let wanted = format!("{REQUIREMENTS}# {}\n", python.trim());
    ensure_with(&cache.path(FOLDER), &wanted, |folder| install(folder, stop))
}

fn ensure_with(
    folder: &Path,
    wanted: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let marker = folder.join(MARKER);
    if fs::read_to_string(&marker).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    if folder.exists() {
        let failed = || format!("cannot remove {}", folder.display());
        fs::remove_dir_all(folder).with_context(failed)?;
    }
    install(folder)?;
    fs::write(&marker, wanted).with_context(|| format!("cannot write {}", marker.display()))
}

fn install(folder: &Path, stop: &Stop) -> Result<()> {
    let spinner = progress::spinner("installing OpenAI's client for Python");
    // Outside of what is installed, so that a marker there always means that all of it is.
    let wanted = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    fs::write(wanted.path(), REQUIREMENTS).context("cannot write a temporary file")?;
    let mut pip = Command::new("python3");
    // Into a folder of its own: a virtual environment needs another package of Debian's, the user's environment is not ours.
    pip.args(["-m", "pip", "install", "--target"])
        .arg(folder)
        .arg("--requirement")
        .arg(wanted.path())
        .args(["--only-binary=:all:", "--no-deps", "--no-cache-dir"])
        .args(["--no-input", "--progress-bar", "off"])
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    run(&mut pip, stop)?;
    spinner.finish_and_clear();
    Ok(())
}

/// Runs a command to its end; what it wrote.
fn run(command: &mut Command, stop: &Stop) -> Result<String> {
    let output = child::capture(command, stop, None, false, || ())?;
    if !output.status.success() {
        let program = command.get_program().to_string_lossy();
        bail!(
            "{program} failed ({}); its output:\n{}{}",
            output.status,
            output.stdout.trim(),
            output.stderr.trim()
        );
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_is_not_as_wanted_is_installed_again() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join(FOLDER);
        let installed = Cell::new(0);
        let install = |folder: &Path| {
            installed.set(installed.get() + 1);
            assert!(!folder.exists(), "what was there before was kept");
            Ok(fs::create_dir(folder)?)
        };
        ensure_with(&folder, REQUIREMENTS, install).unwrap();
        ensure_with(&folder, REQUIREMENTS, install).unwrap();
        assert_eq!(installed.get(), 1);
        fs::write(folder.join(MARKER), "openai==1\n").unwrap();
        ensure_with(&folder, REQUIREMENTS, install).unwrap();
        assert_eq!(installed.get(), 2);
        // One that was interrupted is no installation.
        fs::remove_file(folder.join(MARKER)).unwrap();
        let error = ensure_with(&folder, REQUIREMENTS, |_| bail!("no network")).unwrap_err();
        assert_eq!(error.to_string(), "no network");
        assert!(!folder.join(MARKER).exists());
    }

    #[test]
    fn every_version_is_pinned() {
        for line in REQUIREMENTS.lines() {
            assert_eq!(line.matches("==").count(), 1, "{line}");
        }
        assert!(REQUIREMENTS.contains("\nopenai=="));
    }
}
