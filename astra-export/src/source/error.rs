//! Why a source is refused.

use std::fmt::{self, Debug, Display};
use std::io;
use std::path::{Path, PathBuf};

/// A part of a file that is not what is known how to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Name of the tensor, node or field.
    pub name: String,
    /// What was found there.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl Mismatch {
    pub(crate) fn new(
        name: impl Into<String>,
        found: impl Display,
        expected: impl Display,
    ) -> Self {
        Self {
            name: name.into(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(crate) fn missing(name: impl Into<String>, expected: impl Display) -> Self {
        Self::new(name, "nothing", expected)
    }

    pub(crate) fn at(self, path: &Path) -> SourceError {
        SourceError::Mismatch {
            path: path.to_owned(),
            mismatch: self,
        }
    }
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            found,
            expected,
        } = self;
        write!(f, "{name}: found {found}, expected {expected}")
    }
}

impl std::error::Error for Mismatch {}

/// Why a source is refused. Messages contain the text of the error underneath.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The operating system refused.
    #[error("{}: cannot read: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Not a file of that format.
    #[error("{}: not {format}: {error}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it should have.
        format: &'static str,
        /// What its reader said.
        error: String,
    },
    /// A file of that format with another structure than is known.
    #[error("{}: {mismatch}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The place.
        mismatch: Mismatch,
    },
}

/// What a file is that is often found in a model's place, by its first bytes, 8 at least.
pub(crate) fn not_a_model(start: &[u8]) -> Option<&'static str> {
    match start.get(..8)? {
        b"version " => Some("it is a pointer of Git LFS: fetch the file itself with git lfs pull"),
        b"<!DOCTYP" | b"<!doctyp" => Some("it is a web page, as a failed download leaves"),
        [b'<', b'h' | b'H', b't' | b'T', b'm' | b'M', ..] => {
            Some("it is a web page, as a failed download leaves")
        }
        _ => None,
    }
}

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    std::fs::read(path).map_err(|error| SourceError::Io {
        path: path.to_owned(),
        error,
    })
}

/// The text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, SourceError> {
    String::from_utf8(read(path)?).map_err(|error| SourceError::Format {
        path: path.to_owned(),
        format: "a text in UTF-8",
        error: error.to_string(),
    })
}
