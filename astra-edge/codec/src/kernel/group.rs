//! One group of a codebook: its tables, and its position in a token.

/// The tables of one group: `d` axes, `K` codewords.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) dim: usize,
    /// `[K]`, half the squared length of each codeword.
    pub(super) norms: &'a [f32],
    /// `[d][K]`.
    pub(super) rows: &'a [f32],
    /// `[K][d]`.
    pub(super) words: &'a [f32],
}

/// Position of a group in a token of `y`, `[R]`, and of `codes`, `[G]`.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) rank: usize,
    pub(super) axis: usize,
    pub(super) groups: usize,
    pub(super) group: usize,
}

impl Place {
    /// The group's axes of each token.
    #[inline(always)]
    pub(super) fn axes(self, y: &[f32], dim: usize) -> impl Iterator<Item = &[f32]> {
        let tokens = y.chunks_exact(self.rank);
        tokens.filter_map(move |token| token.get(self.axis..self.axis + dim))
    }

    /// The group's code of each token.
    #[inline(always)]
    pub(super) fn codes(self, codes: &mut [u16]) -> impl Iterator<Item = &mut u16> {
        codes.iter_mut().skip(self.group).step_by(self.groups)
    }
}
