//! A board that programs are built for: one file `targets/NAME.toml` each, and nothing else.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::binaries::workspace;

/// The execution provider that every program has.
const CPU: &str = "cpu";

/// What `targets/NAME.toml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Board {
    /// The file's name without its ending.
    #[serde(skip)]
    pub(crate) name: String,
    /// What people call it.
    pub(crate) description: String,
    /// What rustc calls it.
    pub(crate) triple: String,
    /// The linker, which is a C compiler.
    pub(crate) linker: String,
    /// The processor, as `rustc --print target-cpus` names it; without one, any of the triple.
    pub(crate) cpu: Option<String>,
    /// Memory of the smallest variant.
    pub(crate) memory_mib: u32,
    /// Threads that compute; without a number, one a core.
    pub(crate) threads: Option<u32>,
    /// Execution providers in the order they are tried.
    #[serde(default = "cpu_alone")]
    pub(crate) execution_providers: Vec<String>,
    /// Whether weights may be in memory twice, in a second order that is faster to compute with.
    #[serde(default = "yes")]
    pub(crate) prepacking: bool,
    pub(crate) onnxruntime: OnnxRuntime,
}

/// Where its ONNX Runtime comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum OnnxRuntime {
    /// The pinned wheel, which computes on the CPU.
    Wheel,
    /// The owner's own build, looked for in these folders of the board.
    BringYourOwn {
        /// Folders, in order.
        search: Vec<PathBuf>,
    },
}

impl Board {
    /// Reads the board called `name`.
    ///
    /// # Errors
    /// There is no such board (the error lists those there are), or its file is not one of a board.
    pub(crate) fn load(name: &str) -> Result<Self> {
        Self::load_from(&folder(), name)
    }

    fn load_from(folder: &Path, name: &str) -> Result<Self> {
        let known = names(folder)?;
        if !known.iter().any(|known| known == name) {
            bail!("no board {name:?}: expected one of {}", known.join(", "));
        }
        let path = folder.join(format!("{name}.toml"));
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let board: Self =
            toml::from_str(&text).with_context(|| format!("{}: no board", path.display()))?;
        Ok(Self {
            name: name.to_owned(),
            ..board
        })
    }

    /// Every board there is, by name.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let names = names(&folder())?;
        names.iter().map(|name| Self::load(name)).collect()
    }

    /// Whether programs for it run on this machine as they are.
    pub(crate) fn is_native(&self) -> bool {
        let here = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        cfg!(target_os = "linux") && self.triple == here
    }

    /// A tool of the binutils that come with the linker.
    pub(crate) fn tool(&self, name: &str) -> String {
        let prefix = self.linker.strip_suffix("gcc").unwrap_or_default();
        format!("{prefix}{name}")
    }

    /// Features of the device program that its execution providers need.
    pub(crate) fn features(&self) -> Vec<&str> {
        let providers = self.execution_providers.iter().map(String::as_str);
        providers.filter(|provider| *provider != CPU).collect()
    }

    /// The processor architecture in the words of `std::env::consts::ARCH`.
    pub(crate) fn architecture(&self) -> &str {
        self.triple.split('-').next().unwrap_or_default()
    }

    /// The processor architecture in the words of Debian.
    pub(crate) fn debian_architecture(&self) -> Option<&'static str> {
        match self.architecture() {
            "x86_64" => Some("amd64"),
            "aarch64" => Some("arm64"),
            _ => None,
        }
    }
}

impl Display for Board {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cpu = self.cpu.as_deref().unwrap_or("any processor");
        write!(
            f,
            "{:<22}{:<24}{}, {cpu}, from {} MiB, {} on {}",
            self.name,
            self.description,
            self.triple,
            self.memory_mib,
            self.onnxruntime,
            self.execution_providers.join(", ")
        )
    }
}

impl Display for OnnxRuntime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wheel => f.write_str("ONNX Runtime from its wheel"),
            Self::BringYourOwn { search } => {
                let folders: Vec<_> = search
                    .iter()
                    .map(|folder| folder.display().to_string())
                    .collect();
                write!(f, "ONNX Runtime of its own in {}", folders.join(" or "))
            }
        }
    }
}

fn cpu_alone() -> Vec<String> {
    vec![CPU.to_owned()]
}

fn yes() -> bool {
    true
}

fn folder() -> PathBuf {
    workspace().join("targets")
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let files = crate::folder::entries(folder)?;
    let boards = files.iter().filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    let names = boards.filter_map(|path| path.file_stem());
    Ok(names
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_beside_this_program_is_a_board() {
        let boards = Board::all().unwrap();
        let names: Vec<&str> = boards.iter().map(|board| board.name.as_str()).collect();
        for promised in [
            "jetson-orin",
            "raspberry-pi-4",
            "raspberry-pi-5",
            "raspberry-pi-zero-2w",
            "x86-64",
        ] {
            assert!(names.contains(&promised), "{promised} is not in {names:?}");
        }
        for board in &boards {
            assert!(board.debian_architecture().is_some(), "{}", board.name);
            assert!(board.memory_mib >= 512 && !board.description.is_empty());
            assert!(board.execution_providers.iter().any(|name| name == CPU));
        }
        let features = |name: &str| {
            boards
                .iter()
                .find(|board| board.name == name)
                .map(Board::features)
        };
        assert_eq!(features("jetson-orin"), Some(vec!["tensorrt", "cuda"]));
        assert_eq!(features("raspberry-pi-4"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_board_is_named() {
        let output = Board::load("raspberry-pi-6").unwrap_err().to_string();
        assert!(
            output.contains("raspberry-pi-6") && output.contains("raspberry-pi-5"),
            "{output}"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("odd.toml"),
            "description = \"Odd\"\ncolour = 1\n",
        )
        .unwrap();
        let output = format!("{:#}", Board::load_from(folder.path(), "odd").unwrap_err());
        assert!(
            output.contains("odd.toml") && output.contains("colour"),
            "{output}"
        );
    }
}
