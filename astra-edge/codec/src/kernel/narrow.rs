//! Groups of few axes: a lane is a token.
//!
//! The tokens' axes stay in registers while the codewords are streamed, each axis broadcast to all
//! lanes. Lanes are independent, and only the block of eight words with the lowest score is
//! recorded; its word is computed again afterwards.

use super::group::Group;
use super::lanes::{LANES, Lanes};
use super::rescan::{self, BLOCK};

/// Vectors of tokens in a tile: each broadcast codeword is used for all.
pub(super) const TILES: usize = 2;

/// Tokens in a tile.
pub(super) const TOKENS: usize = TILES * LANES;

/// Words scored in parallel, enough to hide the latency of the multiply-add.
const UNROLL: usize = 4;

/// Nearest codewords of one tile; `y` is `[D][TOKENS]`.
#[inline(always)]
pub(super) fn nearest<L: Lanes, const D: usize>(
    lanes: L,
    group: Group<'_>,
    y: &[[[f32; LANES]; TILES]; D],
) -> [[u16; LANES]; TILES] {
    let axes = y
        .each_ref()
        .map(|axis| axis.each_ref().map(|y| lanes.load(y)));
    let mut best = [lanes.splat(f32::INFINITY); TILES];
    let mut at = [lanes.splat_index(0); TILES];
    let (words, _) = group.words.as_chunks::<D>();
    let blocks = words.as_chunks::<BLOCK>().0.iter();
    for (block, (words, norms)) in blocks.zip(group.norms.as_chunks::<BLOCK>().0).enumerate() {
        let before = best;
        let (words, norms) = (words.as_chunks::<UNROLL>().0, norms.as_chunks().0);
        for (words, norms) in words.iter().zip(norms) {
            best = score(lanes, words, norms, &axes, best);
        }
        let block = lanes.splat_index(block as u32);
        for (at, (&now, &before)) in at.iter_mut().zip(best.iter().zip(&before)) {
            *at = lanes.note(now, before, block, *at);
        }
    }
    let mut codes = [[0; LANES]; TILES];
    for (tile, (codes, (best, at))) in codes.iter_mut().zip(best.into_iter().zip(at)).enumerate() {
        let found = lanes.store(best).into_iter().zip(lanes.store_indices(at));
        for (lane, (code, (lowest, block))) in codes.iter_mut().zip(found).enumerate() {
            let token = y.iter().map(|axis| element(axis, tile, lane));
            *code = rescan::word(lanes, group, token, block as usize, lowest).unwrap_or(0);
        }
    }
    codes
}

/// The lower of `best` and the scores of a few words.
#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "every index runs to its array's constant length"
)]
fn score<L: Lanes, const D: usize>(
    lanes: L,
    words: &[[f32; D]; UNROLL],
    norms: &[f32; UNROLL],
    axes: &[[L::Floats; TILES]; D],
    mut best: [L::Floats; TILES],
) -> [L::Floats; TILES] {
    let mut sums = [best; UNROLL];
    for (sums, &norm) in sums.iter_mut().zip(norms) {
        *sums = [lanes.splat(norm); TILES];
    }
    for axis in 0..D {
        for word in 0..UNROLL {
            let c = lanes.splat(words[word][axis]);
            for tile in 0..TILES {
                sums[word][tile] = lanes.sub_mul(sums[word][tile], c, axes[axis][tile]);
            }
        }
    }
    for sums in sums {
        for (best, sum) in best.iter_mut().zip(sums) {
            *best = lanes.lower(sum, *best);
        }
    }
    best
}

#[inline(always)]
fn element(axis: &[[f32; LANES]; TILES], tile: usize, lane: usize) -> f32 {
    let lanes = axis.get(tile);
    lanes
        .and_then(|lanes| lanes.get(lane))
        .copied()
        .unwrap_or_default()
}
