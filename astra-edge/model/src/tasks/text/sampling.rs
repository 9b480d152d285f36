//! Logits to the next token.
//!
//! In the order other runtimes use: the repetition penalty (Keskar et al., arXiv 1909.05858), the temperature, the `top_k`
//! most likely tokens, then of those the fewest that together have probability `top_p` (Holtzman et al., arXiv 1904.09751).
//! The same logits, history and seed give the same token on every machine whose `exp` rounds alike.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

pub use astra_wire::SamplingParams;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A value of [`SamplingParams`] out of range.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{field}: found {found}, expected {expected}")]
pub struct SamplingError {
    /// Name of the field.
    pub field: &'static str,
    /// What it is.
    pub found: f32,
    /// Values allowed.
    pub expected: &'static str,
}

/// Chooses the tokens of one generation, one after the other.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SamplingParams,
    rng: ChaCha8Rng,
    /// Scratch, kept to save allocations.
    seen: Vec<u32>,
    candidates: Vec<Candidate>,
    kept: Vec<Candidate>,
}

/// A token that may be drawn.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Its probability, up to a factor all have in common.
    weight: f64,
    token: u32,
}

/// The most probable token, always.
pub const GREEDY: SamplingParams = SamplingParams {
    temperature: 0.0,
    top_p: 1.0,
    top_k: 0,
    repetition_penalty: 1.0,
    seed: 0,
};

/// Parameters as users write them: a `top_p` of 0 means greedy sampling, as in llama.cpp and in OpenAI's API, for nucleus sampling
/// with it keeps the most probable token alone.
#[must_use]
pub fn normalized(params: SamplingParams) -> SamplingParams {
    // A temperature out of range stays, for the check to find.
    if params.top_p != 0.0 || params.temperature.is_nan() || params.temperature < 0.0 {
        return params;
    }
    SamplingParams {
        temperature: 0.0,
        top_p: 1.0,
        ..params
    }
}

/// Checks that every parameter is in range.
///
/// # Errors
/// The first that is not.
pub fn check(params: &SamplingParams) -> Result<(), SamplingError> {
    let wrong = |field, found, expected| SamplingError {
        field,
        found,
        expected,
    };
    let SamplingParams {
        temperature,
        top_p,
        repetition_penalty,
        ..
    } = *params;
    if !(temperature.is_finite() && temperature >= 0.0) {
        return Err(wrong("temperature", temperature, "0 or more"));
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        return Err(wrong(
            "top_p",
            top_p,
            "more than 0 and at most 1 (0 for the most likely token alone)",
        ));
    }
    if !(repetition_penalty.is_finite() && repetition_penalty > 0.0) {
        let field = "repetition_penalty";
        return Err(wrong(field, repetition_penalty, "more than 0"));
    }
    Ok(())
}

impl Sampler {
    /// Begins a generation.
    pub fn new(params: SamplingParams) -> Self {
        Self {
            params,
            rng: ChaCha8Rng::seed_from_u64(params.seed),
            seen: Vec::new(),
            candidates: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// The next token: an index of `logits`, `[V]`, which are changed. `history` holds the tokens so far, prompt included.
    ///
    /// Logits that are not a number are never chosen; where none is one, or there are none, it is token 0. Equal ones go to
    /// the lower index.
    pub fn pick(&mut self, logits: &mut [f32], history: &[u32]) -> u32 {
        for logit in &mut *logits {
            // Infinities would make the sum of probabilities no number.
            *logit = if logit.is_nan() {
                f32::MIN
            } else {
                logit.clamp(f32::MIN, f32::MAX)
            };
        }
        self.penalize(logits, history);
        let best = most_likely(logits);
        if self.params.temperature <= 0.0 {
            return best;
        }
        self.weigh(logits, best);
        self.restrict();
        self.draw().unwrap_or(best)
    }

    fn penalize(&mut self, logits: &mut [f32], history: &[u32]) {
        let penalty = self.params.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        self.seen.clear();
        self.seen.extend_from_slice(history);
        self.seen.sort_unstable();
        self.seen.dedup();
        for token in &self.seen {
            // A history of another vocabulary has nothing to say here.
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    (*logit * penalty).max(f32::MIN)
                };
            }
        }
    }

    /// Softmax with the temperature, up to a factor: the most likely token weighs 1.
    fn weigh(&mut self, logits: &[f32], best: u32) {
        let largest = logits.get(best as usize).copied().map_or(0.0, f64::from);
        let temperature = f64::from(self.params.temperature);
        self.candidates.clear();
        let weighed = logits.iter().zip(0..).map(|(logit, token)| Candidate {
            weight: ((f64::from(*logit) - largest) / temperature).exp(),
            token,
        });
        self.candidates.extend(weighed);
    }

    /// Leaves the `top_k` most likely candidates, and of those the fewest that have `top_p` together.
    fn restrict(&mut self) {
        let SamplingParams { top_k, top_p, .. } = self.params;
        let top_k = match top_k as usize {
            0 => self.candidates.len(),
            given => given.min(self.candidates.len()),
        };
        if top_p >= 1.0 && top_k == self.candidates.len() {
            return;
        }
        // A heap puts only those in order that are kept.
        let mut heap = BinaryHeap::from(std::mem::take(&mut self.candidates));
        let total = if top_k == heap.len() {
            heap.iter().map(|candidate| candidate.weight).sum()
        } else {
            f64::INFINITY
        };
        self.kept.clear();
        let (mut mass, wanted) = (0.0, f64::from(top_p) * total);
        while self.kept.len() < top_k && mass < wanted {
            let Some(candidate) = heap.pop() else { break };
            mass += candidate.weight;
            self.kept.push(candidate);
        }
        if total.is_infinite() {
            nucleus(&mut self.kept, top_p);
        }
        self.candidates = heap.into_vec();
        std::mem::swap(&mut self.candidates, &mut self.kept);
    }

    fn draw(&mut self) -> Option<u32> {
        let total: f64 = self.candidates.iter().map(|each| each.weight).sum();
        // 53 random bits, the most that a float64 in [0, 1) tells apart.
        let share = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = share * total;
        let mut last = None;
        for candidate in &self.candidates {
            if candidate.weight <= 0.0 {
                continue;
            }
            if left < candidate.weight {
                return Some(candidate.token);
            }
            left -= candidate.weight;
            last = Some(candidate.token);
        }
        // Rounding may leave a crumb beyond the last one.
        last
    }
}

/// The fewest candidates, most likely first, that have `top_p` of the weight of all together.
fn nucleus(candidates: &mut Vec<Candidate>, top_p: f32) {
    if top_p >= 1.0 {
        return;
    }
    let total: f64 = candidates.iter().map(|each| each.weight).sum();
    let wanted = f64::from(top_p) * total;
    let mut mass = 0.0;
    let before = candidates.iter().take_while(|candidate| {
        let more = mass < wanted;
        mass += candidate.weight;
        more
    });
    let kept = before.count();
    candidates.truncate(kept);
}

/// Index of the largest logit, the first of equals; 0 of none.
fn most_likely(logits: &[f32]) -> u32 {
    let mut best = (f32::NEG_INFINITY, 0);
    for (logit, token) in logits.iter().zip(0..) {
        if *logit > best.0 {
            best = (*logit, token);
        }
    }
    best.1
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let weight = self.weight.total_cmp(&other.weight);
        weight.then(other.token.cmp(&self.token))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

#[cfg(test)]
#[path = "sampling_tests.rs"]
mod tests;
