//! Groups of any size: a lane is a codeword.
//!
//! A chunk of codewords is scored for several tokens at once, so that every codeword loaded serves
//! them all; each token's axis is broadcast straight from its row of `y`.

use super::group::Group;
use super::lanes::{LANES, Lanes};
use super::rescan::{self, BLOCK};

/// Vectors of codewords in a chunk.
const VECTORS: usize = 2;

/// Codewords in a chunk; the kernels take no codebook of fewer.
pub(super) const CHUNK: usize = VECTORS * BLOCK;

/// Nearest codewords of a few tokens, `[d]` each.
#[inline(always)]
pub(super) fn nearest<L: Lanes, const T: usize>(
    lanes: L,
    group: Group<'_>,
    y: [&[f32]; T],
) -> [u16; T] {
    let mut best = [lanes.splat(f32::INFINITY); T];
    let mut at = [lanes.splat_index(0); T];
    let (norms, _) = group.norms.as_chunks::<CHUNK>();
    let (rows, _) = group.rows.as_chunks::<CHUNK>();
    for (chunk, chunk_norms) in norms.iter().enumerate() {
        let column = rows.iter().skip(chunk).step_by(norms.len());
        let scores = scores(lanes, chunk_norms, column, y);
        let chunk = lanes.splat_index(chunk as u32);
        for ((best, at), scores) in best.iter_mut().zip(&mut at).zip(scores) {
            let before = *best;
            for score in scores {
                *best = lanes.lower(score, *best);
            }
            *at = lanes.note(*best, before, chunk, *at);
        }
    }
    let mut codes = [0; T];
    for ((code, y), (best, at)) in codes.iter_mut().zip(y).zip(best.into_iter().zip(at)) {
        let (lowest, chunk) = lanes.lowest(best, at);
        let first = chunk as usize * VECTORS;
        let word = |block| rescan::word(lanes, group, y.iter().copied(), block, lowest);
        *code = (first..first + VECTORS).find_map(word).unwrap_or(0);
    }
    codes
}

/// Scores of a chunk of codewords for every token; `column` is `[d][CHUNK]`.
#[inline(always)]
fn scores<'a, L: Lanes, const T: usize>(
    lanes: L,
    norms: &[f32; CHUNK],
    column: impl Iterator<Item = &'a [f32; CHUNK]>,
    y: [&[f32]; T],
) -> [[L::Floats; VECTORS]; T] {
    let mut sums = [load(lanes, norms); T];
    for (axis, row) in column.enumerate() {
        let words = load(lanes, row);
        for (sums, y) in sums.iter_mut().zip(y) {
            let y = lanes.splat(y.get(axis).copied().unwrap_or_default());
            for (sum, word) in sums.iter_mut().zip(words) {
                *sum = lanes.sub_mul(*sum, word, y);
            }
        }
    }
    sums
}

#[inline(always)]
fn load<L: Lanes>(lanes: L, from: &[f32; CHUNK]) -> [L::Floats; VECTORS] {
    let (low, high) = from.split_at(LANES);
    [low, high].map(|half| {
        half.first_chunk()
            .map_or(lanes.splat(0.0), |half| lanes.load(half))
    })
}
