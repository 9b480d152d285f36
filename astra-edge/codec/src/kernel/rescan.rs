//! Which word of a block has the lowest score.
//!
//! The searches record blocks, not words, which halves their bookkeeping. The scores of the block
//! are computed again with the same operations in the same order, so they are bit-identical.

use super::group::Group;
use super::lanes::{LANES, Lanes};

/// Words in a block.
pub(super) const BLOCK: usize = LANES;

/// The first word of a block whose score is `lowest`.
///
/// `None` if `lowest` is infinity, the initial value of the search: no score was below it.
#[inline(always)]
pub(super) fn word<L: Lanes>(
    lanes: L,
    group: Group<'_>,
    y: impl Iterator<Item = f32>,
    block: usize,
    lowest: f32,
) -> Option<u16> {
    if lowest == f32::INFINITY {
        return None;
    }
    let (norms, _) = group.norms.as_chunks::<BLOCK>();
    let (rows, _) = group.rows.as_chunks::<BLOCK>();
    let mut scores = lanes.load(norms.get(block)?);
    for (axis, y) in y.enumerate() {
        let row = lanes.load(rows.get(block + axis * norms.len())?);
        scores = lanes.sub_mul(scores, row, lanes.splat(y));
    }
    let equal = lanes.equal(scores, lowest);
    let word = block * BLOCK + equal.trailing_zeros() as usize;
    if equal == 0 { None } else { Some(word as u16) }
}
