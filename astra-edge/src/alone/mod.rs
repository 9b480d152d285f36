//! One picture, or texts, on this machine, without a cluster.

mod text;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cluster::request::error::RequestError;
use crate::cluster::request::image::ImageReply;
use crate::cluster::request::summary;
use crate::node::{NodeError, load};
use crate::report::{MemberReport, Report};
use crate::text::TextError;
use astra_model::engine::{OwnedInput, Runtime};
use astra_model::tasks::image::prepare;

pub use text::text_service;

/// What this machine is called in a report.
const MACHINE: &str = "this machine";
/// Why there are no other members.
const WHY: &str = "as requested, without a cluster";
/// Runs that the latency is the best of.
const RUNS: usize = 3;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AloneError {
    /// The model does not load.
    #[error(transparent)]
    Load(#[from] NodeError),
    /// The picture is refused, or the model fails.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The bundle's tokenizer or chat template is refused.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The model is not one of text.
    #[error("{bundle}: model: found one that takes pictures, expected one that takes text")]
    NoText {
        /// The bundle.
        bundle: String,
    },
}

/// The result of one image, given as the bytes of its file.
///
/// # Errors
/// The bundle, ONNX Runtime or the picture is refused.
pub async fn answer(
    bundle: &Path,
    library: Option<&Path>,
    threads: usize,
    image: &[u8],
) -> Result<ImageReply, AloneError> {
    let runtime = Runtime::load(library, threads).map_err(NodeError::from)?;
    let loaded = load(bundle, runtime, None)?;
    let begun = Instant::now();
    let spec = loaded.input.ok_or_else(|| NodeError::NoImage {
        bundle: bundle.display().to_string(),
    })?;
    let prepared = prepare(image, &spec).map_err(RequestError::from)?;
    let prepare = begun.elapsed();
    let input = OwnedInput::Pixels(prepared.pixels);
    let mut best = Duration::MAX;
    let mut answer = None;
    // The first run warms up.
    for run in 0..=RUNS {
        let whole = loaded.worker.run_full_model(input.clone()).await;
        let (found, took) = whole.map_err(RequestError::from)?;
        if run > 0 {
            best = best.min(took);
        }
        answer = Some(found);
    }
    let answer = answer.unwrap_or_default();
    let manifest = loaded.worker.bundle().manifest();
    let latency = summary::milliseconds(best);
    let report = Report {
        latency_ms: latency,
        one_device_latency_ms: Some(latency),
        members: vec![MemberReport {
            name: MACHINE.to_owned(),
            // A manifest with more is refused.
            tokens: u16::try_from(manifest.shape.tokens).unwrap_or(u16::MAX),
            compute_ms: latency,
            ..MemberReport::default()
        }],
        alone: Some(WHY.to_owned()),
        prepare_ms: summary::milliseconds(prepare),
        coordinator: MACHINE.to_owned(),
        classes: summary::classes(&answer, &manifest.task),
        input: summary::input(&spec, prepared.content),
        ..Report::default()
    };
    Ok(ImageReply { report, answer })
}
