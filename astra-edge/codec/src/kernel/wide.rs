//! Groups of any size: a lane is a codeword.
//!
//! A chunk of codewords is scored for several tokens at once, so that each loaded codeword is used
//! for all; each token's axis is broadcast from its row of `y`.

use super::group::Group;
use super::lanes::{LANES, Lanes};
use super::rescan::{self, BLOCK};

/// Vectors of codewords in a chunk.
const VECTORS: usize = 2;

/// Codewords in a chunk, the minimum for this kernel.
pub(super) const CHUNK: usize = VECTORS * BLOCK;

/// Nearest codewords of a few tokens, `[d]` each.
#[inline(always)]
pub(super) fn nearest<L: Lanes, const T: usize>(
    lanes: L,
    group: Group<'_>,
    y: [&[f32]; T],
) -> [u16; T] {
    let mut codes = [0; T];
    if y.iter().any(|y| y.len() != group.dim) {
        return codes;
    }
    let mut best = [lanes.splat(f32::INFINITY); T];
    let mut at = [lanes.splat_index(0); T];
    let (norms, _) = group.norms.as_chunks::<LANES>();
    for (chunk, norms) in norms.as_chunks().0.iter().enumerate() {
        let scores = scores(lanes, group, chunk, norms, y);
        let chunk = lanes.splat_index(chunk as u32);
        for ((best, at), scores) in best.iter_mut().zip(&mut at).zip(scores) {
            let before = *best;
            for score in scores {
                *best = lanes.lower(score, *best);
            }
            *at = lanes.note(*best, before, chunk, *at);
        }
    }
    for ((code, y), (best, at)) in codes.iter_mut().zip(y).zip(best.into_iter().zip(at)) {
        let (lowest, chunk) = lanes.lowest(best, at);
        let first = chunk as usize * VECTORS;
        for block in first..first + VECTORS {
            if let Some(word) = rescan::word(lanes, group, y.iter().copied(), block, lowest) {
                *code = word;
                break;
            }
        }
    }
    codes
}

/// Scores of a chunk of codewords for every token.
#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "tokens and vectors run to their arrays' constant lengths, axes to the length of every y"
)]
fn scores<L: Lanes, const T: usize>(
    lanes: L,
    group: Group<'_>,
    chunk: usize,
    norms: &[[f32; LANES]; VECTORS],
    y: [&[f32]; T],
) -> [[L::Floats; VECTORS]; T] {
    let (rows, _) = group.rows.as_chunks::<LANES>();
    let (rows, _) = rows.as_chunks::<VECTORS>();
    let stride = group.norms.len() / CHUNK;
    let mut sums = [load(lanes, norms); T];
    for axis in 0..group.dim {
        let Some(row) = rows.get(chunk + axis * stride) else {
            break;
        };
        let words = load(lanes, row);
        for token in 0..T {
            let y = lanes.splat(y[token][axis]);
            for vector in 0..VECTORS {
                sums[token][vector] = lanes.sub_mul(sums[token][vector], words[vector], y);
            }
        }
    }
    sums
}

#[inline(always)]
fn load<L: Lanes>(lanes: L, [low, high]: &[[f32; LANES]; VECTORS]) -> [L::Floats; VECTORS] {
    [lanes.load(low), lanes.load(high)]
}
