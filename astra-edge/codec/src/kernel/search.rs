//! The nearest codewords of one group over all tokens.

use super::group::{Group, Place};
use super::lanes::{LANES, Lanes};
use super::narrow::{self, TILES, TOKENS};
use super::wide;

#[inline(always)]
pub(super) fn encode<L: Lanes>(
    lanes: L,
    group: Group<'_>,
    place: Place,
    y: &[f32],
    codes: &mut [u16],
) {
    let done = match group.dim {
        1 => tiles::<L, 1>(lanes, group, place, y, codes),
        2 => tiles::<L, 2>(lanes, group, place, y, codes),
        3 => tiles::<L, 3>(lanes, group, place, y, codes),
        4 => tiles::<L, 4>(lanes, group, place, y, codes),
        5 => tiles::<L, 5>(lanes, group, place, y, codes),
        6 => tiles::<L, 6>(lanes, group, place, y, codes),
        7 => tiles::<L, 7>(lanes, group, place, y, codes),
        8 => tiles::<L, 8>(lanes, group, place, y, codes),
        9 => tiles::<L, 9>(lanes, group, place, y, codes),
        10 => tiles::<L, 10>(lanes, group, place, y, codes),
        11 => tiles::<L, 11>(lanes, group, place, y, codes),
        12 => tiles::<L, 12>(lanes, group, place, y, codes),
        _ => 0,
    };
    rest(lanes, group, place, y, codes, done);
}

/// Tokens in whole tiles; returns how many.
#[inline(always)]
fn tiles<L: Lanes, const D: usize>(
    lanes: L,
    group: Group<'_>,
    place: Place,
    y: &[f32],
    codes: &mut [u16],
) -> usize {
    let tiles = y.chunks_exact(TOKENS * place.rank);
    let done = tiles.len() * TOKENS;
    for (y, codes) in tiles.zip(codes.chunks_exact_mut(TOKENS * place.groups)) {
        let mut turned = [[[0.0; LANES]; TILES]; D];
        for (token, axes) in place.axes(y, D).enumerate() {
            for (axis, &value) in turned.iter_mut().zip(axes) {
                if let Some(lane) = axis.as_flattened_mut().get_mut(token) {
                    *lane = value;
                }
            }
        }
        let found = narrow::nearest(lanes, group, &turned);
        for (code, &found) in place.codes(codes).zip(found.as_flattened()) {
            *code = found;
        }
    }
    done
}

/// Tokens from the one numbered `done`: as many at a time as there are registers for.
#[inline(always)]
fn rest<L: Lanes>(
    lanes: L,
    group: Group<'_>,
    place: Place,
    y: &[f32],
    codes: &mut [u16],
    done: usize,
) {
    let left = y.len() / place.rank - done;
    let mut axes = place.axes(y, group.dim).skip(done);
    let mut codes = place.codes(codes).skip(done);
    for _ in 0..left / 6 {
        few::<L, 6>(lanes, group, &mut axes, &mut codes);
    }
    for _ in 0..left % 6 / 4 {
        few::<L, 4>(lanes, group, &mut axes, &mut codes);
    }
    for _ in 0..left % 6 % 4 / 2 {
        few::<L, 2>(lanes, group, &mut axes, &mut codes);
    }
    for _ in 0..left % 2 {
        few::<L, 1>(lanes, group, &mut axes, &mut codes);
    }
}

#[inline(always)]
fn few<'a, L: Lanes, const T: usize>(
    lanes: L,
    group: Group<'_>,
    axes: &mut impl Iterator<Item = &'a [f32]>,
    codes: &mut impl Iterator<Item = &'a mut u16>,
) {
    let y = [(); T].map(|()| axes.next().unwrap_or_default());
    for found in wide::nearest(lanes, group, y) {
        if let Some(code) = codes.next() {
            *code = found;
        }
    }
}
