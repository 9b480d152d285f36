//! The loop over the tokens of a generation.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use astra_bundle::TextInput;
use astra_model::engine::{Decoder, EngineError};
use astra_model::tasks::text::sampling::Sampler;

use super::{FinishReason, GenerationRequest, TokenCallback};

/// The next token, or why there is none.
pub(crate) type NextToken = ControlFlow<FinishReason, u32>;

/// A running generation.
pub(crate) struct TokenLoop {
    sampler: Sampler,
    on_token: TokenCallback,
    cancelled: Arc<AtomicBool>,
    eos: Vec<u32>,
    /// The prompt and the tokens generated so far.
    ids: Vec<u32>,
    prompt_tokens: usize,
    /// Length of `ids` at which the generation ends.
    limit: usize,
}

impl TokenLoop {
    /// A generation by the model that `text` describes.
    pub(crate) fn new(
        request: GenerationRequest,
        text: &TextInput,
        on_token: TokenCallback,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        let mut ids = request.prompt;
        let prompt_tokens = ids.len();
        let max_tokens = request.stop.max_tokens.unwrap_or(usize::MAX);
        let limit = prompt_tokens
            .saturating_add(max_tokens)
            .min(text.max_tokens);
        // No allocation between two tokens.
        ids.reserve_exact(limit.saturating_sub(prompt_tokens));
        Self {
            sampler: Sampler::new(request.sampling),
            on_token,
            cancelled,
            eos: text.eos.clone(),
            ids,
            prompt_tokens,
            limit,
        }
    }

    /// Token ids of the prompt.
    pub(crate) fn prompt(&self) -> &[u32] {
        self.ids.get(..self.prompt_tokens).unwrap_or_default()
    }

    /// Number of tokens generated so far.
    pub(crate) fn generated(&self) -> usize {
        self.ids.len() - self.prompt_tokens
    }

    /// Generates from the first token on, until the generation ends.
    ///
    /// # Errors
    /// The decoder fails.
    pub(crate) fn run(
        &mut self,
        decoder: &mut Decoder,
        first: NextToken,
    ) -> Result<FinishReason, EngineError> {
        let mut next = first;
        loop {
            let token = match next {
                ControlFlow::Continue(token) => token,
                ControlFlow::Break(reason) => return Ok(reason),
            };
            // The logits after the last token are of no use.
            if self.ids.len() >= self.limit {
                return Ok(FinishReason::Length);
            }
            next = self.next(decoder.step(token)?);
        }
    }

    /// Chooses the next token by its logits, `[V]`, which are changed.
    pub(crate) fn next(&mut self, logits: &mut [f32]) -> NextToken {
        if self.cancelled.load(Ordering::Acquire) {
            return ControlFlow::Break(FinishReason::Cancelled);
        }
        if self.ids.len() >= self.limit {
            return ControlFlow::Break(FinishReason::Length);
        }
        let token = self.sampler.pick(logits, &self.ids);
        if self.eos.contains(&token) {
            return ControlFlow::Break(FinishReason::Stop);
        }
        self.ids.push(token);
        if (self.on_token)(token) {
            ControlFlow::Continue(token)
        } else {
            ControlFlow::Break(FinishReason::Cancelled)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use astra_model::tasks::text::fixture;
    use astra_model::tasks::text::sampling::GREEDY;

    use super::*;
    use crate::generation::StopConditions;

    fn generation(
        max_tokens: usize,
        longest: usize,
        wanted: usize,
    ) -> (TokenLoop, mpsc::Receiver<u32>) {
        let (sender, receiver) = mpsc::channel();
        let mut left = wanted;
        let on_token = Box::new(move |token| {
            left -= 1;
            sender.send(token).is_ok() && left > 0
        });
        let request = GenerationRequest {
            prompt: vec![5, 6],
            sampling: GREEDY,
            stop: StopConditions::after(max_tokens),
        };
        let text = TextInput {
            max_tokens: longest,
            eos: vec![9],
            ..fixture::input()
        };
        let generation = TokenLoop::new(request, &text, on_token, Arc::default());
        (generation, receiver)
    }

    fn ends(mut generation: TokenLoop) -> (FinishReason, usize) {
        loop {
            // The most likely token is the one after the last.
            let mut logits = [0.0; 16];
            logits[*generation.ids.last().unwrap() as usize + 1] = 1.0;
            if let ControlFlow::Break(reason) = generation.next(&mut logits) {
                return (reason, generation.generated());
            }
        }
    }

    #[test]
    fn a_generation_ends_for_one_of_four_reasons() {
        let (generation, tokens) = generation(100, 100, 100);
        assert_eq!(generation.prompt(), [5, 6]);
        assert_eq!(ends(generation), (FinishReason::Stop, 2));
        assert_eq!(tokens.iter().collect::<Vec<u32>>(), [7, 8]);
        let of = |max, longest, wanted| ends(self::generation(max, longest, wanted).0);
        assert_eq!(of(1, 100, 100), (FinishReason::Length, 1));
        assert_eq!(of(0, 100, 100), (FinishReason::Length, 0));
        assert_eq!(of(100, 3, 100), (FinishReason::Length, 1));
        assert_eq!(of(100, 100, 1), (FinishReason::Cancelled, 1));
        let (generation, tokens) = self::generation(100, 100, 100);
        generation.cancelled.store(true, Ordering::Release);
        assert_eq!(ends(generation), (FinishReason::Cancelled, 0));
        assert_eq!(tokens.iter().count(), 0);
    }
}
