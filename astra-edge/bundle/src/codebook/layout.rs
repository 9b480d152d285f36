//! Sizes of a block's codebooks.

use std::fmt;

use crate::layout::align_up;
use crate::rung::{Rung, RungBlock};

/// What decides the sizes. Within the ranges that a manifest is checked for (R, G and H at most 8,192, K at most 65,536) no size
/// overflows 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Axes, R.
    pub(crate) rank: usize,
    pub(crate) first: StageLayout,
    pub(crate) second: Option<StageLayout>,
    /// Whether frames have a mean.
    pub(crate) mean: bool,
}

/// Groups and words of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StageLayout {
    pub(crate) groups: usize,
    pub(crate) words: usize,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StageLayout { groups, words } = self.first;
        write!(f, "{} axes, {groups} groups of {words} words", self.rank)?;
        match self.second {
            Some(StageLayout { groups, words }) => write!(f, ", then {groups} of {words}"),
            None => Ok(()),
        }
    }
}

impl Layout {
    /// That of a rung's codebooks in one of its blocks.
    pub(crate) fn of(rung: &Rung, block: &RungBlock) -> Self {
        Self {
            rank: block.rank,
            first: StageLayout {
                groups: block.groups,
                words: rung.words,
            },
            second: rung.refinement.map(|refinement| StageLayout {
                groups: block.refined_groups,
                words: refinement.words,
            }),
            mean: block.frame_mean_bits > 0,
        }
    }

    /// Bytes of perm, dims and what codes the mean, without padding.
    pub(super) fn head_bytes(&self) -> u64 {
        let second = self.second.map_or(0, |stage| stage.groups as u64);
        let axes = if self.mean { 3 } else { 1 };
        (self.rank as u64)
            .saturating_mul(axes)
            .saturating_add(self.first.groups as u64)
            .saturating_add(second)
            .saturating_mul(2)
    }

    /// Bytes of the words of a stage, without padding.
    pub(super) fn word_bytes(&self, stage: StageLayout) -> u64 {
        (self.rank as u64)
            .saturating_mul(stage.words as u64)
            .saturating_mul(2)
    }

    /// Bytes of the block, padding included.
    pub(crate) fn bytes(&self) -> u64 {
        let aligned = |bytes| align_up(bytes).unwrap_or(u64::MAX);
        let first = aligned(self.head_bytes()).saturating_add(aligned(self.word_bytes(self.first)));
        let second = self
            .second
            .map_or(0, |stage| aligned(self.word_bytes(stage)));
        first.saturating_add(second)
    }
}
