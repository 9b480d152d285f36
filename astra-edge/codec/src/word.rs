//! What is done with a codeword and the axes of its group: [`Word`].

/// Writes, adds or subtracts a codeword; both slices have its length.
#[derive(Clone, Copy)]
pub(crate) enum Word {
    Write,
    Add,
    Subtract,
}

impl Word {
    /// The common lengths are special cases because a loop or a call of `memcpy` is slower.
    #[inline(always)]
    pub(crate) fn apply(self, word: &[f32], axes: &mut [f32]) {
        match (word, axes) {
            (word @ &[_, _, _, _], axes @ &mut [_, _, _, _]) => self.apply_slice(word, axes),
            (word @ &[_, _, _, _, _], axes @ &mut [_, _, _, _, _]) => self.apply_slice(word, axes),
            (word, axes) => self.apply_slice(word, axes),
        }
    }

    #[inline(always)]
    fn apply_slice(self, word: &[f32], axes: &mut [f32]) {
        let pairs = axes.iter_mut().zip(word);
        match self {
            Self::Write => pairs.for_each(|(y, &c)| *y = c),
            Self::Add => pairs.for_each(|(y, &c)| *y += c),
            Self::Subtract => pairs.for_each(|(y, &c)| *y -= c),
        }
    }
}
