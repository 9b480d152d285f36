//! Texts to calibrate on where none is given.
//!
//! A causal model writes them itself: what it writes is like what it was trained on, so its blocks see about what they see of
//! people's texts (Liu et al., "LLM-QAT", 2023). About: six such texts cost SmolLM2-135M over four devices 17.5 % of perplexity at
//! 160 bits and 5.0 % at 320, where 48 windows of the WikiText-2 validation text cost 1.4 % and nothing, scored on its other half.
//!
//! An encoder cannot write; for it there are a few sentences here, which cost too: without prediction, all-MiniLM-L6-v2 over four
//! devices comes to a cosine of 0.955 at 320 bits with them, and to 0.983 with such a text.

use std::path::Path;

use astra_bundle::Manifest;
use astra_model::engine::{Decoder, Runtime};
use astra_model::tasks::text::sampling::{GREEDY, Sampler, SamplingParams};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::CalibrateError;
use crate::progress::{Meter, Progress};
use crate::texts::WINDOW;

/// About everything, a sentence a line; written for this.
const SENTENCES: &str = include_str!("sentences.txt");
/// Texts put together of them.
const PASSAGES: usize = 192;
/// Longest of them in sentences.
const LONGEST: usize = 8;
/// One sentence in this number is kept from calibration.
const HELD_OUT: usize = 5;

/// Texts that the model in `dir` writes, each of [`WINDOW`] tokens or as many as the model takes. The same seed gives the same
/// texts.
///
/// Each begins with a token drawn from all: left to itself, a model begins much the same way every time.
///
/// # Errors
/// The model does not write, or does not run.
pub fn by_model(
    runtime: &Runtime,
    dir: &Path,
    manifest: &Manifest,
    texts: usize,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Vec<Vec<u32>>, CalibrateError> {
    let text = manifest.text.as_ref();
    let text = text.ok_or(CalibrateError::Input("texts"))?;
    let length = text.max_tokens.min(WINDOW);
    let mut decoder = Decoder::open(runtime, dir, manifest)?;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sampler = Sampler::new(SamplingParams {
        temperature: 1.0,
        top_p: 0.95,
        seed,
        ..GREEDY
    });
    let meter = Meter::new((texts * length) as u64, progress);
    let vocab = u32::try_from(text.vocab).unwrap_or(u32::MAX);
    let write = |_| {
        let first = rng.random_range(0..vocab);
        let bos = text.bos.filter(|_| text.add_bos);
        let mut ids: Vec<u32> = bos.into_iter().chain([first]).collect();
        let mut next = sampler.pick(decoder.prefill(&ids, 0)?, &ids);
        while ids.len() < length {
            ids.push(next);
            next = sampler.pick(decoder.step(next)?, &ids);
            meter.add(1);
        }
        Ok(ids)
    };
    (0..texts).map(write).collect()
}

/// Passages for an encoder, one a line: sentences in an order that the seed decides.
pub fn passages(seed: u64) -> String {
    arranged(seed, |place| place % HELD_OUT != 0)
}

/// Passages to measure agreement on: [`passages`] has none of their sentences, whatever the seeds.
pub fn held_out_passages(seed: u64) -> String {
    arranged(seed, |place| place % HELD_OUT == 0)
}

/// Passages of the sentences whose places are `of`.
fn arranged(seed: u64, of: impl Fn(usize) -> bool) -> String {
    let mut rng = StdRng::seed_from_u64(seed);
    let sentences = SENTENCES.lines().enumerate();
    let sentences = sentences.filter(|(place, _)| of(*place));
    let mut sentences: Vec<&str> = sentences.map(|(_, sentence)| sentence).collect();
    let mut passages = String::new();
    for _ in 0..PASSAGES {
        sentences.shuffle(&mut rng);
        let count = rng.random_range(1..=LONGEST);
        let chosen: Vec<&str> = sentences.iter().take(count).copied().collect();
        passages.push_str(&chosen.join(" "));
        passages.push('\n');
    }
    passages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_passages() {
        let found = passages(1);
        assert_eq!(found, passages(1));
        assert_ne!(found, passages(2));
        assert_eq!(found.lines().count(), PASSAGES);
        assert!(found.lines().all(|line| line.len() > 20));
    }

    #[test]
    fn no_sentence_is_both_calibrated_and_measured_on() {
        let (calibrate, held_out) = (passages(1), held_out_passages(1));
        let both = |sentence: &&str| calibrate.contains(*sentence) && held_out.contains(*sentence);
        assert_eq!(SENTENCES.lines().find(both), None);
        let used = |sentence: &&str| calibrate.contains(*sentence) || held_out.contains(*sentence);
        assert!(SENTENCES.lines().all(|sentence| used(&sentence)));
    }
}
