//! Loads the model, and measures its speed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use astra_bundle::{Bundle, ImageInput, Task};

use super::error::NodeError;
use crate::cluster::device::measured_tokens;
use crate::generation::{GenerationJob, GenerationRequest, Prefill, StopConditions};
use crate::text::BundleText;
use crate::worker::Worker;
use astra_model::engine::{OwnedInput, Provider, Runtime};
use astra_model::tasks::text::sampling::GREEDY;

/// Runs of which the fastest is the speed.
const MEASURED: usize = 2;

/// A model that is ready to run.
pub struct Loaded {
    /// The compute thread.
    pub worker: Worker,
    /// How a photograph becomes its input, for models of images.
    pub input: Option<ImageInput>,
    /// What runs it.
    pub runtime: Runtime,
    /// Tokenizer and chat template, for models of text.
    pub text: Option<BundleText>,
}

/// Opens a bundle and starts the compute thread, with packed weights mapped from `cache` if there is one. Blocks for seconds.
///
/// # Errors
/// The bundle is refused.
pub fn load(bundle: &Path, runtime: Runtime, cache: Option<&Path>) -> Result<Loaded, NodeError> {
    let bundle = Arc::new(Bundle::open(bundle)?);
    let runtime = runtime.with_prepacking_for(&bundle);
    let runtime = match cache {
        Some(cache) => runtime.with_packed_weights(&bundle, cache),
        None => runtime,
    };
    let input = bundle.manifest().image;
    let text = BundleText::open(bundle.dir(), bundle.manifest())?;
    Ok(Loaded {
        text,
        worker: Worker::start(runtime.clone(), bundle)?,
        runtime,
        input,
    })
}

/// The library and its execution providers: `libonnxruntime.so.1.32.0 tensorrt, cuda, cpu`.
pub(super) fn runtime_name(runtime: &Runtime) -> String {
    let name = runtime.path().file_name().unwrap_or_default();
    let providers: Vec<String> = runtime
        .providers()
        .iter()
        .map(Provider::to_string)
        .collect();
    format!("{} {}", name.to_string_lossy(), providers.join(", "))
}

/// Microseconds of the whole model on a grey image or a text of typical length: the fastest of a few runs, after a warm-up.
pub(super) async fn measure_speed(loaded: &Loaded) -> Result<u32, NodeError> {
    let mut best = Duration::MAX;
    for run in 0..=MEASURED {
        let took = measure_once(loaded, run).await?;
        if run > 0 {
            best = best.min(took);
        }
    }
    // Most requests go to the cluster, and the graph that was measured holds memory that they do not need.
    loaded.worker.close_full_model();
    // 0 would mean not measured.
    Ok(u32::try_from(best.as_micros()).unwrap_or(u32::MAX).max(1))
}

async fn measure_once(loaded: &Loaded, run: usize) -> Result<Duration, NodeError> {
    let worker = &loaded.worker;
    let manifest = worker.bundle().manifest();
    let Some(text) = &manifest.text else {
        let patch = loaded.input.map_or(0, |input| input.patch);
        let grey = vec![128; manifest.shape.tokens * patch * patch * 3];
        let (_, took) = worker.run_full_model(OwnedInput::Pixels(grey)).await?;
        return Ok(took);
    };
    // Each run begins with another token, or the cache would spare it the rest.
    let ids = (run..run + measured_tokens(manifest)).map(|id| (id % text.vocab.max(1)) as u32);
    let ids: Vec<u32> = ids.collect();
    if !matches!(manifest.task, Task::Generation) {
        let (_, took) = worker.run_full_model(OwnedInput::Ids(ids)).await?;
        return Ok(took);
    }
    let generated = worker.generate(GenerationJob {
        request: GenerationRequest {
            prompt: ids,
            sampling: GREEDY,
            stop: StopConditions::after(0),
        },
        prefill: Prefill::Local,
        on_token: Box::new(|_| false),
        cancelled: Arc::default(),
    });
    Ok(generated.await?.prefill())
}
