//! Errors of the steps that compute, and checked access to buffers.

use std::ops::Range;
use std::path::{Path, PathBuf};

use astra_bundle::BundleError;

use super::Provider;

/// Failure of a step that computes. Running it again with the same input fails again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No ONNX Runtime library was found.
    #[error(
        "no ONNX Runtime library found; looked for {}; give one with --onnxruntime PATH or ORT_DYLIB_PATH, or run `cargo xtask provision`",
        list(.tried)
    )]
    RuntimeNotFound {
        /// Every path tried, in order.
        tried: Vec<PathBuf>,
    },
    /// The library does not load, or is too old.
    #[error("{}: not a usable ONNX Runtime library: {reason}", .path.display())]
    RuntimeLoad {
        /// The library.
        path: PathBuf,
        /// The loader's message.
        reason: String,
    },
    /// None of the requested execution providers can be used.
    #[error(
        "{}: none of the requested execution providers can be used: {}; add cpu to them",
        .path.display(), reasons(.tried)
    )]
    NoProvider {
        /// The library.
        path: PathBuf,
        /// Every requested provider, in order, and why it cannot be used.
        tried: Vec<(Provider, String)>,
    },
    /// ONNX Runtime refused a graph.
    #[error("{}: ONNX Runtime refuses the graph: {source}", .path.display())]
    Graph {
        /// The graph's file.
        path: PathBuf,
        /// ONNX Runtime's error.
        source: ort::Error,
    },
    /// A graph with other inputs or outputs than the format says.
    #[error("{}: {what}: found {found}, expected {expected}", .path.display())]
    Interface {
        /// The graph's file.
        path: PathBuf,
        /// Inputs or outputs.
        what: &'static str,
        /// Names in the graph.
        found: String,
        /// Names in the format.
        expected: String,
    },
    /// ONNX Runtime failed in a step.
    #[error("{step}: {source}")]
    Run {
        /// The step.
        step: &'static str,
        /// ONNX Runtime's error.
        source: ort::Error,
    },
    /// A buffer of another length than expected.
    #[error("{what}: found {found} values, expected {expected}")]
    Length {
        /// The buffer.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length expected.
        expected: usize,
    },
    /// Input of another modality than the model's.
    #[error("input: found {found}, expected {expected}")]
    Input {
        /// Modality of the input.
        found: &'static str,
        /// Modality of the model.
        expected: &'static str,
    },
    /// A block that the model does not have.
    #[error("block: found {found}, expected one below {blocks}")]
    NoSuchBlock {
        /// The block.
        found: usize,
        /// Blocks of the model.
        blocks: usize,
    },
    /// A part of the bundle cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A share of refined tokens without codebooks of a second stage, or the reverse.
    #[error(
        "second stage: found a share of {share}/256 and {groups} groups, expected both or neither"
    )]
    Refinement {
        /// Share of refined tokens.
        share: u8,
        /// Groups of the second stage.
        groups: usize,
    },
    /// A token's codes do not fit the wire format.
    #[error(transparent)]
    Layout(#[from] astra_wire::LayoutError),
    /// A codebook whose parts do not fit together.
    #[error("codebook of block {block}: {source}")]
    Codebook {
        /// The block.
        block: usize,
        /// The contradiction.
        source: TableError,
    },
    /// Buffers of other lengths than the codebook's.
    #[error(transparent)]
    Code(#[from] astra_codec::LengthError),
}

/// Tables of a block that contradict each other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A codebook.
    #[error(transparent)]
    Codebook(#[from] astra_codec::CodebookError),
    /// What codes the mean of a frame.
    #[error(transparent)]
    Mean(#[from] astra_codec::MeanError),
}

impl EngineError {
    /// For `map_err` at a step.
    pub(super) fn run(step: &'static str) -> impl Fn(ort::Error) -> Self {
        move |source| Self::Run { step, source }
    }

    /// For `map_err` where a graph is opened.
    pub(super) fn graph(path: &Path) -> impl Fn(ort::Error) -> Self {
        move |source| Self::Graph {
            path: path.to_owned(),
            source,
        }
    }

    /// Checks the length of a buffer.
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

/// A range of a buffer's entries, with an error instead of a panic.
///
/// # Errors
/// [`EngineError::Length`]: it is shorter.
pub fn slice<'a, T>(
    what: &'static str,
    buffer: &'a [T],
    entries: Range<usize>,
) -> Result<&'a [T], EngineError> {
    let (found, expected) = (buffer.len(), entries.end);
    buffer.get(entries).ok_or(EngineError::Length {
        what,
        found,
        expected,
    })
}

/// As [`slice()`], mutable.
///
/// # Errors
/// [`EngineError::Length`]: it is shorter.
pub fn slice_mut<'a, T>(
    what: &'static str,
    buffer: &'a mut [T],
    entries: Range<usize>,
) -> Result<&'a mut [T], EngineError> {
    let (found, expected) = (buffer.len(), entries.end);
    buffer.get_mut(entries).ok_or(EngineError::Length {
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
