//! Nearest codewords: the groups of a codebook, and the choice of instruction set.
//!
//! ```text
//! mod            the codebook's groups; instruction set, chosen once per call
//!   scalar       fewer than 16 codewords; the model the others are tested against
//!   search       one group: 16 tokens at a time to narrow, the rest to wide
//!     narrow     up to 12 axes: a lane is a token, a codeword is broadcast
//!     wide       any group: a lane is a codeword, a token is broadcast
//!       rescan   which word of a block has the lowest score
//!         lanes  eight lanes of f32: portable, avx2
//! ```

#[cfg(target_arch = "x86_64")]
mod avx2;
mod group;
mod lanes;
mod narrow;
mod portable;
mod rescan;
mod scalar;
mod search;
#[cfg(test)]
mod tests;
mod wide;

use group::{Group, Place};

/// Tables of a codebook, their lengths checked.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a> {
    pub(crate) dims: &'a [u16],
    pub(crate) words: usize,
    pub(crate) rank: usize,
    pub(crate) dim_major: &'a [f32],
    pub(crate) word_major: &'a [f32],
    pub(crate) half_norms: &'a [f32],
}

/// Writes the nearest codewords of `y`, `[tokens][R]`, to `codes`, `[tokens][G]`.
pub(crate) fn encode(tables: Tables<'_>, y: &[f32], codes: &mut [u16]) {
    if tables.words < wide::CHUNK {
        return encode_scalar(tables, y, codes, scalar::round_twice);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = avx2::Avx2::detect() {
        return avx2.encode(tables, y, codes);
    }
    encode_portable(tables, y, codes);
}

fn encode_scalar(
    tables: Tables<'_>,
    y: &[f32],
    codes: &mut [u16],
    sub_mul: impl Fn(f32, f32, f32) -> f32 + Copy,
) {
    for (group, place) in groups(tables) {
        scalar::encode(group, place, y, codes, sub_mul);
    }
}

fn encode_portable(tables: Tables<'_>, y: &[f32], codes: &mut [u16]) {
    for (group, place) in groups(tables) {
        search::encode(portable::Portable, group, place, y, codes);
    }
}

/// The groups of a codebook, each with its position in a token.
#[inline(always)]
fn groups(tables: Tables<'_>) -> impl Iterator<Item = (Group<'_>, Place)> {
    let (mut rows, mut words) = (tables.dim_major, tables.word_major);
    let mut axis = 0;
    let norms = tables.half_norms.chunks_exact(tables.words);
    let groups = tables.dims.iter().zip(norms).enumerate();
    groups.map(move |(index, (&dim, norms))| {
        let dim = usize::from(dim);
        let group = Group {
            dim,
            norms,
            rows: take(&mut rows, dim * tables.words),
            words: take(&mut words, dim * tables.words),
        };
        let place = Place {
            rank: tables.rank,
            axis,
            groups: tables.dims.len(),
            group: index,
        };
        axis += dim;
        (group, place)
    })
}

fn take<'a>(from: &mut &'a [f32], count: usize) -> &'a [f32] {
    let (taken, rest) = from.split_at(count);
    *from = rest;
    taken
}
