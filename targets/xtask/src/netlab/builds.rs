//! The programs that are measured: those of this workspace, and of a second build.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::binaries::{BASELINES, Binaries};
use crate::edge::Discovery;

use super::wiring;

/// Where the devices of each build listen, if there are two.
const PORTS: [u16; 2] = [7450, 7451];

/// Which build a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    This,
    Other,
}

/// The measured programs of another build.
#[derive(Debug)]
pub(super) struct Programs {
    edge: PathBuf,
    baselines: Option<PathBuf>,
}

/// The programs of one build, and how its devices find each other.
#[derive(Debug)]
pub(super) struct Build {
    /// `None` if there is only this workspace's.
    pub(super) name: Option<Name>,
    pub(super) binaries: Binaries,
    /// The program of the baselines, if any are measured.
    pub(super) baselines: Option<PathBuf>,
    pub(super) cluster: &'static str,
    /// Addresses of all devices, if they find each other through the first one: two clusters on one network then stay apart.
    addresses: Vec<String>,
}

impl Build {
    /// The only build.
    pub(super) fn single(binaries: Binaries, baselines: Option<PathBuf>) -> Self {
        Self {
            name: None,
            binaries,
            baselines,
            cluster: "lab",
            addresses: Vec::new(),
        }
    }

    /// This workspace's build, and a second one.
    pub(super) fn pair(this: Self, other: Programs, devices: u8) -> [Self; 2] {
        let other = Self {
            name: Some(Name::Other),
            binaries: Binaries {
                edge: other.edge,
                // The bundle is the same for both.
                export: this.binaries.export.clone(),
            },
            baselines: other.baselines,
            cluster: "lab-other",
            addresses: addresses(devices, PORTS[1]),
        };
        let this = Self {
            name: Some(Name::This),
            cluster: "lab-this",
            addresses: addresses(devices, PORTS[0]),
            ..this
        };
        [this, other]
    }

    pub(super) fn discovery(&self) -> Discovery<'_> {
        match self.addresses.first() {
            Some(first) => Discovery::Connect(first),
            None => Discovery::Multicast(wiring::INTERFACE),
        }
    }

    /// Where device `number` listens, if not on a free port.
    pub(super) fn listen(&self, number: u8) -> Option<&str> {
        let index = usize::from(number).checked_sub(1)?;
        self.addresses.get(index).map(String::as_str)
    }

    /// `file` with the build in its name.
    pub(super) fn file(&self, file: &str) -> String {
        match self.name {
            Some(Name::Other) => format!("{file}-other"),
            _ => file.to_owned(),
        }
    }
}

impl Programs {
    /// The programs in `folder`.
    ///
    /// # Errors
    /// One is missing.
    pub(super) fn find(folder: &Path, baselines: bool) -> Result<Self> {
        Ok(Self {
            edge: program(folder, "astra-edge")?,
            baselines: baselines.then(|| program(folder, BASELINES)).transpose()?,
        })
    }
}

fn addresses(devices: u8, port: u16) -> Vec<String> {
    let address = |number| format!("{}:{port}", wiring::address(number));
    (1..=devices).map(address).collect()
}

fn program(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "--other {}: found no program {name}, expected the folder of a build, such as target/release of another checkout",
            folder.display()
        );
    }
    // Programs in the current folder are otherwise looked for in PATH.
    Ok(path.canonicalize()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_builds_have_clusters_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("astra-edge"), "").unwrap();
        let this = Build::single(
            Binaries {
                edge: "/this/astra-edge".into(),
                export: "/this/astra-export".into(),
            },
            None,
        );
        let other = Programs::find(folder.path(), false).unwrap();
        let [this, other] = Build::pair(this, other, 2);
        assert_ne!(this.cluster, other.cluster);
        assert_eq!(this.listen(2), Some("10.77.0.2:7450"));
        assert_eq!(other.listen(2), Some("10.77.0.2:7451"));
        assert_eq!((this.listen(0), this.listen(3)), (None, None));
        let meets = |build: &Build| format!("{:?}", build.discovery());
        assert_eq!(meets(&this), r#"Connect("10.77.0.1:7450")"#);
        assert_eq!(meets(&other), r#"Connect("10.77.0.1:7451")"#);
        assert_eq!(other.binaries.export, this.binaries.export);
        let program = folder.path().canonicalize().unwrap().join("astra-edge");
        assert_eq!(other.binaries.edge, program);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = |baselines| {
            let found = Programs::find(folder.path(), baselines);
            found.unwrap_err().to_string()
        };
        let text = error(false);
        assert!(
            text.contains("found no program astra-edge, expected"),
            "{text}"
        );
        std::fs::write(folder.path().join("astra-edge"), "").unwrap();
        let text = error(true);
        assert!(text.contains("found no program astra-baselines"), "{text}");
    }
}
