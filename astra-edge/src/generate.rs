//! What comes after a prompt, token by token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::job::{Job, JobStats};
use astra_model::engine::{Decoder, EngineError};

/// Chooses a token from the scores of all, [V], which it may change, and from the tokens so far.
pub type Choose = Box<dyn FnMut(&mut [f32], &[u32]) -> u32 + Send>;

/// Takes a token; says whether more are wanted. Runs between two tokens and must not wait.
pub type Take = Box<dyn FnMut(u32) -> bool + Send>;

/// A prompt, and how to go on from it.
pub struct Generation {
    /// Token ids of the whole prompt, special ones included.
    pub prompt: Vec<u32>,
    /// How the prompt is computed.
    pub prefill: Prefill,
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// Chooses each token.
    pub choose: Choose,
    /// Takes each token.
    pub take: Take,
    /// Set to end the generation at its next token.
    pub stop: Arc<AtomicBool>,
}

/// How a prompt is computed. Tokens whose keys and values are there from the generation before are not computed again.
pub enum Prefill {
    /// Here, all of it.
    Alone,
    /// Here, behind what is in the cache at this rung or better; not at all if that is nothing.
    Cached {
        /// Bits per token per block; 0 in exact mode.
        rung: u16,
    },
    /// In a plan of which this device is the last member.
    Plan {
        /// The plan.
        plan: u64,
        /// This device's part.
        order: Job,
    },
}

/// What a generation came to.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens generated, the one that ended it not counted.
    pub tokens: usize,
    /// Tokens of the prompt that were there from the generation before.
    pub reused: usize,
    /// Whether the prompt was computed here after all, because tokens of other members were missing.
    pub recomputed: bool,
    /// From the start to the scores of the first token.
    pub prefill: Duration,
    /// From there to the end.
    pub decode: Duration,
    /// Where time and bytes of the prompt went.
    pub stats: JobStats,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model chose a token that ends the text.
    Stop,
    /// As many tokens as wanted, or as the model's longest text holds.
    Length,
    /// Nobody reads the tokens any more.
    Gone,
}

/// A generation under way.
pub(crate) struct Writer {
    choose: Choose,
    take: Take,
    stop: Arc<AtomicBool>,
    eos: Vec<u32>,
    /// Tokens so far, prompt included.
    text: Vec<u32>,
    prompt: usize,
    /// Tokens at which it ends.
    full: usize,
}

impl Writer {
    /// Goes on from `prompt`, to at most `longest` tokens in all; a token of `eos` ends it.
    pub(crate) fn new(
        mut prompt: Vec<u32>,
        max_tokens: usize,
        longest: usize,
        eos: &[u32],
        (choose, take, stop): (Choose, Take, Arc<AtomicBool>),
    ) -> Self {
        let length = prompt.len();
        let full = length.saturating_add(max_tokens).min(longest);
        // No allocation between two tokens.
        prompt.reserve_exact(full.saturating_sub(length));
        Self {
            choose,
            take,
            stop,
            eos: eos.to_vec(),
            prompt: length,
            text: prompt,
            full,
        }
    }

    /// The prompt.
    pub(crate) fn prompt(&self) -> &[u32] {
        self.text.get(..self.prompt).unwrap_or_default()
    }

    /// Tokens generated so far.
    pub(crate) fn tokens(&self) -> usize {
        self.text.len() - self.prompt
    }

    /// Chooses the first token by `scores`, [V], and all others by what the decoder makes of the one before.
    ///
    /// # Errors
    /// The decoder fails.
    pub(crate) fn write(
        &mut self,
        decoder: &mut Decoder,
        first: Result<u32, Finish>,
    ) -> Result<Finish, EngineError> {
        let mut next = first;
        loop {
            let token = match next {
                Ok(token) => token,
                Err(finish) => return Ok(finish),
            };
            // The last token's scores are nobody's.
            if self.text.len() >= self.full {
                return Ok(Finish::Length);
            }
            next = self.next(decoder.step(token)?);
        }
    }

    /// The next token by the scores of all, or why there is none.
    pub(crate) fn next(&mut self, scores: &mut [f32]) -> Result<u32, Finish> {
        if self.stop.load(Ordering::Acquire) {
            return Err(Finish::Gone);
        }
        if self.text.len() >= self.full {
            return Err(Finish::Length);
        }
        let token = (self.choose)(scores, &self.text);
        if self.eos.contains(&token) {
            return Err(Finish::Stop);
        }
        self.text.push(token);
        if (self.take)(token) {
            Ok(token)
        } else {
            Err(Finish::Gone)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn writer(max_tokens: usize, longest: usize, wanted: usize) -> (Writer, mpsc::Receiver<u32>) {
        let (sender, receiver) = mpsc::channel();
        let mut left = wanted;
        let take = Box::new(move |token| {
            left -= 1;
            sender.send(token).is_ok() && left > 0
        });
        // The next token counts on from the last.
        let choose = Box::new(|_: &mut [f32], text: &[u32]| text.last().unwrap() + 1);
        let how: (Choose, Take, _) = (choose, take, Arc::default());
        let writer = Writer::new(vec![5, 6], max_tokens, longest, &[9], how);
        (writer, receiver)
    }

    fn ends(mut writer: Writer) -> (Finish, usize) {
        loop {
            if let Err(finish) = writer.next(&mut []) {
                return (finish, writer.tokens());
            }
        }
    }

    #[test]
    fn a_generation_ends_for_one_of_four_reasons() {
        let (writer, tokens) = writer(100, 100, 100);
        assert_eq!(writer.prompt(), [5, 6]);
        assert_eq!(ends(writer), (Finish::Stop, 2));
        assert_eq!(tokens.iter().collect::<Vec<u32>>(), [7, 8]);
        assert_eq!(ends(self::writer(1, 100, 100).0), (Finish::Length, 1));
        assert_eq!(ends(self::writer(0, 100, 100).0), (Finish::Length, 0));
        assert_eq!(ends(self::writer(100, 3, 100).0), (Finish::Length, 1));
        assert_eq!(ends(self::writer(100, 100, 1).0), (Finish::Gone, 1));
        let (writer, tokens) = self::writer(100, 100, 100);
        writer.stop.store(true, Ordering::Release);
        assert_eq!(ends(writer), (Finish::Gone, 0));
        assert_eq!(tokens.iter().count(), 0);
    }
}
