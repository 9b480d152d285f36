//! Passes of small models with random weights.

mod gradients;
mod models;
mod simulation;
mod training;

use astra_model::partition::TokenRange;

use super::codec::BlockTensors;
use super::model::{Division, Transformer};
use super::pass::{Pass, Step};
use super::run::Rung;
use models::Small;

/// Members with these numbers of tokens.
fn ranges(tokens: &[u16]) -> Vec<TokenRange> {
    let ranges = tokens.iter().scan(0, |first, &tokens| {
        let range = TokenRange {
            first: *first,
            tokens,
        };
        *first += tokens;
        Some(range)
    });
    ranges.collect()
}
