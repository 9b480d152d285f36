//! What can go wrong between a bundle and ONNX Runtime.

use std::ops::Range;
use std::path::{Path, PathBuf};

use astra_bundle::BundleError;

use super::Provider;

/// Failure of a step that computes. None of them is cured by trying again with the same input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No ONNX Runtime library where one is looked for.
    #[error(
        "no ONNX Runtime library found; looked for {}; give one with --onnxruntime PATH or ORT_DYLIB_PATH, or run `cargo xtask provision`",
        list(.tried)
    )]
    RuntimeNotFound {
        /// Every place looked at, in order.
        tried: Vec<PathBuf>,
    },
    /// The library is there but does not load, or is of a version that lacks what is needed.
    #[error("{}: not a usable ONNX Runtime library: {reason}", .path.display())]
    RuntimeLoad {
        /// The library.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// None of the execution providers asked for can be used.
    #[error(
        "{}: no execution provider of those asked for: {}; add cpu to them",
        .path.display(), reasons(.tried)
    )]
    NoProvider {
        /// The library.
        path: PathBuf,
        /// Every one asked for, in order, and why it cannot be used.
        tried: Vec<(Provider, String)>,
    },
    /// A graph that ONNX Runtime does not take.
    #[error("{}: ONNX Runtime refuses the graph: {source}", .path.display())]
    Graph {
        /// The graph's file.
        path: PathBuf,
        /// ONNX Runtime's word.
        source: ort::Error,
    },
    /// A graph with other inputs or outputs than the format says.
    #[error("{}: {what}: found {found}, expected {expected}", .path.display())]
    Interface {
        /// The graph's file.
        path: PathBuf,
        /// Which of its sides.
        what: &'static str,
        /// Names that are there.
        found: String,
        /// Names that should be.
        expected: String,
    },
    /// A step failed while running.
    #[error("{step}: {source}")]
    Run {
        /// The step.
        step: &'static str,
        /// ONNX Runtime's word.
        source: ort::Error,
    },
    /// A buffer of another length than the step takes.
    #[error("{what}: found {found} values, expected {expected}")]
    Length {
        /// The buffer.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length wanted.
        expected: usize,
    },
    /// Input of another kind than the model takes.
    #[error("input: found {found}, expected {expected}")]
    Input {
        /// What was given.
        found: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// A block that the model does not have.
    #[error("block: found {found}, expected one below {blocks}")]
    NoSuchBlock {
        /// Block asked for.
        found: usize,
        /// Blocks there are.
        blocks: usize,
    },
    /// Part of the bundle does not read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A codebook whose parts do not fit together.
    #[error("codebook of block {block}: {source}")]
    Codebook {
        /// The block.
        block: usize,
        /// What does not fit.
        source: astra_codec::CodebookError,
    },
    /// Buffers that do not fit a codebook.
    #[error(transparent)]
    Code(#[from] astra_codec::LengthError),
}

impl EngineError {
    /// For `map_err` at a step.
    pub(super) fn run(step: &'static str) -> impl Fn(ort::Error) -> Self {
        move |source| Self::Run { step, source }
    }

    /// For `map_err` of a graph that is opened.
    pub(super) fn graph(path: &Path) -> impl Fn(ort::Error) -> Self {
        move |source| Self::Graph {
            path: path.to_owned(),
            source,
        }
    }

    /// Checks a length.
    ///
    /// # Errors
    /// [`EngineError::Length`]: the lengths differ.
    pub fn length(what: &'static str, found: usize, expected: usize) -> Result<(), EngineError> {
        if found == expected {
            return Ok(());
        }
        Err(Self::Length {
            what,
            found,
            expected,
        })
    }
}

/// The named entries of a buffer.
///
/// # Errors
/// [`EngineError::Length`]: it is shorter.
pub fn part<'a, T>(
    what: &'static str,
    buffer: &'a [T],
    entries: Range<usize>,
) -> Result<&'a [T], EngineError> {
    let (found, expected) = (buffer.len(), entries.end);
    let part = buffer.get(entries);
    part.ok_or(EngineError::Length {
        what,
        found,
        expected,
    })
}

/// As [`part`], to be written.
///
/// # Errors
/// [`EngineError::Length`]: it is shorter.
pub fn part_mut<'a, T>(
    what: &'static str,
    buffer: &'a mut [T],
    entries: Range<usize>,
) -> Result<&'a mut [T], EngineError> {
    let (found, expected) = (buffer.len(), entries.end);
    let part = buffer.get_mut(entries);
    part.ok_or(EngineError::Length {
        what,
        found,
        expected,
    })
}

fn reasons(tried: &[(Provider, String)]) -> String {
    let reasons: Vec<String> = tried
        .iter()
        .map(|(provider, reason)| format!("{provider} ({reason})"))
        .collect();
    reasons.join(", ")
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}
