//! Bytes that leave devices, as the kernel counts them.

use std::path::{Path, PathBuf};

/// The kernel's counters of some interfaces: folders such as `/sys/class/net/eth0/statistics`.
#[derive(Clone, Debug, Default)]
pub struct Counters(Vec<PathBuf>);

/// A counter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: found {found}, expected a number of bytes", path.display())]
pub struct CounterError {
    path: PathBuf,
    found: String,
}

impl Counters {
    /// Counters in these folders.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self(folders)
    }

    /// Bytes that left by all of them since they were made; `None` without any.
    ///
    /// # Errors
    /// The first that cannot be read.
    pub fn sent(&self) -> Result<Option<u64>, CounterError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let each = self.0.iter().map(|folder| read(&folder.join("tx_bytes")));
        each.sum::<Result<u64, _>>().map(Some)
    }
}

fn read(path: &Path) -> Result<u64, CounterError> {
    let wrong = |found: String| CounterError {
        path: path.to_owned(),
        found,
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let text = text.trim();
    text.parse().map_err(|_| wrong(format!("{text:?}")))
}
