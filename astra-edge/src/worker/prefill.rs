//! The prompt of a generation: computed on this device, or in a plan.

use std::time::Instant;

use astra_model::engine::{Decoder, LanguageHead, Model, slice};

use super::WorkerError;
use crate::generation::{NextToken, TokenLoop};
use crate::job::{DataPath, Job, JobStats};

/// Result of a prefill.
#[derive(Default)]
pub(super) struct PrefillResult {
    /// Tokens of the prompt that were in the KV cache.
    pub(super) reused_tokens: usize,
    /// Whether this device computed the whole prompt, because codes of other members were missing.
    pub(super) recomputed: bool,
    pub(super) stats: JobStats,
    /// Members that frames were sent to.
    pub(super) receivers: usize,
}

impl PrefillResult {
    /// Computes the prompt on this device, but for tokens that are in the KV cache at `rung` or exactly.
    pub(super) fn run_local(
        &mut self,
        decoder: &mut Decoder,
        generation: &mut TokenLoop,
        rung: u16,
    ) -> Result<NextToken, WorkerError> {
        let start = Instant::now();
        self.reused_tokens = decoder.reusable_tokens(generation.prompt(), rung);
        let logits = decoder.prefill(generation.prompt(), self.reused_tokens)?;
        let took = start.elapsed();
        self.stats.compute += took;
        self.stats.total += took;
        Ok(generation.next(logits))
    }

    /// Computes the prompt in a plan; all of it on this device where codes of other members are missing.
    pub(super) fn run_distributed(
        &mut self,
        model: &mut Model,
        path: &mut DataPath,
        job: &Job,
        (decoder, head): (&mut Decoder, &mut LanguageHead),
        generation: &mut TokenLoop,
    ) -> Result<NextToken, WorkerError> {
        decoder.clear(generation.prompt().len())?;
        let rung = path.plan().rung;
        let output = path.run_filling_cache(model, job, decoder)?;
        self.stats = output.stats;
        self.receivers = path.receivers();
        if self.stats.masked_tokens > 0 {
            self.recomputed = true;
            return self.run_local(decoder, generation, 0);
        }
        decoder.set_tokens(generation.prompt(), rung);
        let start = Instant::now();
        let hidden = model.shape().hidden;
        let features = output.features.len();
        let last = features.saturating_sub(hidden)..features;
        let last = slice("features of the last token", &output.features, last)?;
        let mut logits = head.run(last)?;
        let took = start.elapsed();
        self.stats.compute += took;
        self.stats.total += took;
        Ok(generation.next(&mut logits))
    }
}
