//! Tokens distributed evenly over frames.

use core::ops::Range;

/// Iterates over the token ranges of successive frames, from token 0 on. Sizes differ by at most one; larger ranges come first.
#[derive(Clone, Debug)]
pub struct Split {
    next: u16,
    tokens_left: u16,
    ranges_left: u32,
}

impl Split {
    /// `ranges` is 0 only where `tokens` is.
    pub(crate) const fn new(tokens: u16, ranges: u32) -> Self {
        Self {
            next: 0,
            tokens_left: tokens,
            ranges_left: ranges,
        }
    }

    /// Tokens of the next range; 0 after the last.
    pub(crate) fn next_size(&self) -> u16 {
        let size = u32::from(self.tokens_left).div_ceil(self.ranges_left.max(1));
        // At most the tokens left.
        size as u16
    }

    /// How many of the ranges left have the larger and the smaller size, each with that size.
    pub(crate) fn sizes(&self) -> ((u32, u16), (u32, u16)) {
        let (tokens, ranges) = (u32::from(self.tokens_left), self.ranges_left.max(1));
        let (larger, smaller) = (tokens % ranges, tokens / ranges);
        // Sizes are at most the tokens left, a larger one only where they are not distributed without a rest.
        let sizes = (self.next_size(), smaller as u16);
        ((larger, sizes.0), (self.ranges_left - larger, sizes.1))
    }
}

impl Iterator for Split {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let size = self.next_size();
        self.ranges_left = self.ranges_left.checked_sub(1)?;
        let first = usize::from(self.next);
        self.tokens_left -= size;
        // At most the number of tokens, a u16.
        self.next += size;
        Some(first..first + usize::from(size))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ranges_left as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Split {}
impl core::iter::FusedIterator for Split {}
