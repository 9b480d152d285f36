//! The packed parts of one frame after its header.

use crate::bits::packed_len;

/// Codes or positions packed from a whole byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) count: usize,
    pub(crate) bits: u8,
}

/// What a frame carries, in the order of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sections {
    /// First-stage codes, or in exact mode values.
    pub(crate) first: Section,
    /// Refined tokens, relative to the frame's first.
    pub(crate) positions: Section,
    /// Their second-stage codes.
    pub(crate) second: Section,
    /// Bytes of the mean.
    pub(crate) mean: usize,
}

impl Section {
    /// Of a frame without refined tokens; the bits of no codes matter to no one.
    pub(crate) const EMPTY: Self = Self { count: 0, bits: 1 };

    #[inline]
    pub(crate) fn packed_len(self) -> usize {
        packed_len(self.count, self.bits)
    }
}

impl Sections {
    /// Bytes of the frame after its header.
    #[inline]
    pub(crate) fn packed_len(&self) -> usize {
        self.first.packed_len() + self.positions.packed_len() + self.second.packed_len() + self.mean
    }
}
