//! The search one codeword at a time.

use super::group::{Group, Place};

/// `sum - a * b` with both results rounded.
pub(super) fn round_twice(sum: f32, a: f32, b: f32) -> f32 {
    sum - a * b
}

pub(super) fn encode(
    group: Group<'_>,
    place: Place,
    y: &[f32],
    codes: &mut [u16],
    sub_mul: impl Fn(f32, f32, f32) -> f32,
) {
    for (y, code) in place.axes(y, group.dim).zip(place.codes(codes)) {
        let (mut lowest, mut nearest) = (f32::INFINITY, 0);
        let words = group.words.chunks_exact(group.dim).zip(group.norms);
        for (index, (word, &norm)) in words.enumerate() {
            let axes = word.iter().zip(y);
            let score = axes.fold(norm, |sum, (&c, &y)| sub_mul(sum, c, y));
            if score < lowest {
                (lowest, nearest) = (score, index as u16);
            }
        }
        *code = nearest;
    }
}
