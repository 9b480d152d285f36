//! Where a setting comes from.

use std::path::PathBuf;

/// Where a value comes from, the strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, such as `--threads`.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A settings file.
    File {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Nothing names a value.
    Default,
}
