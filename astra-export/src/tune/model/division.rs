//! Rows of all members of an input in one matrix.
//!
//! The class tokens come first: of an encoder a copy for each member, member by member; of a causal model the attention sink,
//! which is the same on every member, once. The divided tokens follow in their order, so that each member's are contiguous.

use core::ops::Range;

use astra_model::partition::TokenRange;

/// Which rows belong to whom.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::tune) struct Division {
    /// Class tokens of one member.
    pub(in crate::tune) class: usize,
    pub(in crate::tune) causal: bool,
    /// Divided tokens of each member.
    pub(in crate::tune) ranges: Vec<Range<usize>>,
}

impl Division {
    pub(in crate::tune) fn new(class: usize, causal: bool, ranges: &[TokenRange]) -> Self {
        Self {
            class,
            causal,
            ranges: ranges.iter().map(TokenRange::indexes).collect(),
        }
    }

    /// How often the class tokens are there.
    pub(in crate::tune) fn copies(&self) -> usize {
        if self.causal { 1 } else { self.ranges.len() }
    }

    /// Rows of class tokens, of all copies.
    pub(in crate::tune) fn class_rows(&self) -> usize {
        self.class * self.copies()
    }

    /// Divided tokens of all members.
    pub(in crate::tune) fn tokens(&self) -> usize {
        self.ranges.last().map_or(0, |range| range.end)
    }

    /// First row of a member's class tokens.
    pub(in crate::tune) fn first_class_row(&self, member: usize) -> usize {
        if self.causal { 0 } else { member * self.class }
    }
}
