//! Who computes which tokens.

/// Contiguous patch tokens a member owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenRange {
    /// Index of the first token.
    pub first: u16,
    /// Number of tokens.
    pub tokens: u16,
}

impl TokenRange {
    /// One past the last token.
    pub fn end(&self) -> usize {
        usize::from(self.first) + usize::from(self.tokens)
    }

    /// The tokens as indexes.
    pub fn indexes(&self) -> core::ops::Range<usize> {
        usize::from(self.first)..self.end()
    }
}
