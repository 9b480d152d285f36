//! Every way a bundle is refused.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Sha256Digest;

/// One value that is not what it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where it stands, as a path of field names: `rungs[2].rank`.
    pub field: String,
    /// What was found there.
    pub found: String,
    /// What would have been right.
    pub expected: String,
}

impl Invalid {
    pub(crate) fn new(
        field: impl Into<String>,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) -> Self {
        Self {
            field: field.into(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(crate) fn at(self, path: &Path) -> BundleError {
        BundleError::Invalid {
            path: path.to_owned(),
            invalid: self,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            found,
            expected,
        } = self;
        write!(f, "{field}: found {found}, expected {expected}")
    }
}

impl std::error::Error for Invalid {}

/// Why a bundle was not opened, not written, or does not hold what was requested of it.
///
/// Messages are complete: they contain the text of the error underneath, which is therefore not repeated as a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {error}", path.display())]
    Io {
        /// What was being done, as a verb: `read`, `rename`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is nothing at that place.
    #[error("{}: found nothing, expected the directory of a bundle", .0.display())]
    NoDirectory(PathBuf),
    /// The place is a file or something else that holds no files.
    #[error("{}: found a file, expected the directory of a bundle", .0.display())]
    NotADirectory(PathBuf),
    /// A directory, but not a bundle, or one that was never finished.
    #[error("{}: found nothing, expected the manifest of a bundle", .0.display())]
    NoManifest(PathBuf),
    /// Some other program's `manifest.json`.
    #[error("{}: manifest: found {found}, expected an object with a number \"format\"", path.display())]
    ForeignManifest {
        /// The manifest.
        path: PathBuf,
        /// What was there instead.
        found: String,
    },
    /// Written by another generation of the software.
    #[error("{}: format: found {found}, expected {} or {}; {advice}", path.display(), crate::FORMAT, crate::FORMAT_OF_BLOCKS)]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// What to do about it: of an older bundle the command that makes it anew, as far as its manifest tells.
        advice: String,
    },
    /// Not JSON, or a field is missing or of the wrong type.
    #[error("{}: manifest: {error}, expected format {} or {}", path.display(), crate::FORMAT, crate::FORMAT_OF_BLOCKS)]
    Json {
        /// The manifest.
        path: PathBuf,
        /// The place by line and column, and what was expected there.
        error: serde_json::Error,
    },
    /// A value contradicts the format, or another value.
    #[error("{}: {invalid}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The value.
        invalid: Invalid,
    },
    /// The manifest names a file that is not there.
    #[error("{}: found nothing, expected a file of {expected} bytes", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
        /// Its size by the manifest.
        expected: u64,
    },
    /// A directory, pipe or device lies where a file should.
    #[error("{}: found no regular file, expected one", .0.display())]
    NotAFile(PathBuf),
    /// Truncated, grown, or another file.
    #[error("{}: size: found {found} bytes, expected {expected}", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size.
        found: u64,
        /// Its size by the manifest.
        expected: u64,
    },
    /// The size is right and the content is not.
    #[error("{}: SHA-256: found {found}, expected {expected}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Hash of its bytes.
        found: Sha256Digest,
        /// Hash by the manifest.
        expected: Sha256Digest,
    },
    /// A tensor reaches past the end of the weights.
    #[error("{}: tensor {shape:?}: found it at byte {offset}, expected it to end within {bytes} bytes", path.display())]
    TensorBounds {
        /// The weights.
        path: PathBuf,
        /// Where the tensor starts.
        offset: u64,
        /// Its dimensions.
        shape: Vec<usize>,
        /// Size of the weights.
        bytes: u64,
    },
    /// A tensor does not start at a multiple of [`ALIGN`](crate::ALIGN).
    #[error("{}: tensor: found it at byte {offset}, expected a multiple of {}", path.display(), crate::ALIGN)]
    TensorAlignment {
        /// The weights.
        path: PathBuf,
        /// Where the tensor starts.
        offset: u64,
    },
    /// The bundle has no such graph.
    #[error("{}: graph: found no {name:?}, expected one of {available:?}", dir.display())]
    NoGraph {
        /// The bundle.
        dir: PathBuf,
        /// What was requested.
        name: String,
        /// The graphs there are.
        available: Vec<String>,
    },
    /// The bundle has no such rung.
    #[error("{}: rung: found none of {bits} bits, expected one of {available:?}", dir.display())]
    NoRung {
        /// The bundle.
        dir: PathBuf,
        /// What was requested.
        bits: u32,
        /// The rungs there are.
        available: Vec<u32>,
    },
    /// The bundle has no such basis.
    #[error("{}: basis: found no {name:?}, expected one of {available:?}", dir.display())]
    NoBasis {
        /// The bundle.
        dir: PathBuf,
        /// What was requested.
        name: String,
        /// The bases there are.
        available: Vec<String>,
    },
    /// The model has fewer blocks.
    #[error("{}: block: found {block}, expected one below {blocks}", dir.display())]
    NoBlock {
        /// The bundle.
        dir: PathBuf,
        /// What was requested.
        block: usize,
        /// How many there are.
        blocks: usize,
    },
    /// The place to write to holds something that is not a bundle; nothing was touched.
    #[error("{}: found {found}, expected a bundle to replace, an empty directory or nothing", path.display())]
    Occupied {
        /// The place.
        path: PathBuf,
        /// What lies there.
        found: &'static str,
    },
}

impl BundleError {
    /// For `map_err`: an I/O error with what was being done to what.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            action,
            path: path.to_owned(),
            error,
        }
    }
}
