//! Why settings are refused.

use std::path::PathBuf;

use crate::link::LinkError;

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: cannot read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// A file has something that is not understood.
    #[error("{}: {at}: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line and setting.
        at: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A value that is not possible.
    #[error("{at}: found {found:?}, expected {expected}")]
    Value {
        /// Where the value comes from: a flag, a variable, or a file with its line; the setting's key where that is not known.
        at: String,
        /// The value.
        found: String,
        /// What it could be.
        expected: String,
    },
    /// Both a key and a file of it.
    #[error("key: found both key and key_file, expected one of them")]
    TwoKeys,
    /// No bundle was named, and there is not exactly one to take.
    #[error("no bundle named, and {}; name one with --bundle DIR", found_bundles(.0))]
    NoBundle(Vec<PathBuf>),
    /// The network refuses.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The command line does not have the settings that it was searched for.
    #[error(transparent)]
    Flags(#[from] clap::Error),
}

impl ConfigError {
    /// A value of the setting with this key.
    pub(super) fn value(key: &str, found: &str, expected: impl Into<String>) -> Self {
        Self::Value {
            at: key.to_owned(),
            found: found.to_owned(),
            expected: expected.into(),
        }
    }

    /// The same with the place that a value comes from in place of the key, where `place` knows it.
    #[must_use]
    pub(super) fn named(self, place: impl FnOnce(&str) -> Option<String>) -> Self {
        let Self::Value {
            at,
            found,
            expected,
        } = self
        else {
            return self;
        };
        Self::Value {
            at: place(&at).unwrap_or(at),
            found,
            expected,
        }
    }
}

/// What the cache holds instead of one bundle.
fn found_bundles(found: &[PathBuf]) -> String {
    if found.is_empty() {
        return "there is none in the cache".to_owned();
    }
    let names: Vec<String> = found
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    format!("there are several in the cache: {}", names.join(", "))
}
