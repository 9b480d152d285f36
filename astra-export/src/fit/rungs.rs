//! The settings of the codec that a bundle carries.

use astra_codec::MAX_MEAN_BITS;

use super::FitError;

/// What the axes of a rung are fitted to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BasisKind {
    /// The tokens themselves.
    Plain,
    /// What attention makes of the tokens.
    Attention,
}

/// One setting of the codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RungSpec {
    /// Name: bits per token per block, mean over blocks and tokens, all counted.
    pub bits: u32,
    /// Bits of a code of the first stage, log2 K.
    pub code_bits: u32,
    /// What its axes keep.
    pub basis: BasisKind,
    /// Whether it codes residuals to a prediction from the previous block.
    pub predicted: bool,
    /// The second stage, if there is one.
    pub refinement: Option<Refinement>,
    /// Each block.
    pub blocks: Vec<BlockSpec>,
}

/// The second stage of a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refinement {
    /// Share of a frame's tokens that are refined, in 1/256.
    pub share: u8,
    /// Bits of a code.
    pub code_bits: u32,
}

/// One block of a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSpec {
    /// Axes coded, R.
    pub rank: usize,
    /// Groups of the first stage, G.
    pub groups: usize,
    /// Groups of the second stage, H; 0 without one.
    pub refined_groups: usize,
    /// Bits of a frame's mean, without its gain; 0 where frames have none.
    pub frame_mean_bits: usize,
}

impl Refinement {
    /// Refined tokens in a frame of `tokens`.
    pub fn tokens(&self, tokens: usize) -> usize {
        (tokens * usize::from(self.share) + 128) / 256
    }

    /// Words of a codebook.
    pub fn words(&self) -> usize {
        1 << self.code_bits
    }
}

impl RungSpec {
    /// Name of its basis in a bundle.
    pub fn basis_name(&self) -> String {
        format!("rung-{}", self.bits)
    }

    /// Words of a codebook of the first stage, K.
    pub fn words(&self) -> usize {
        1 << self.code_bits
    }

    /// Axes of its widest block.
    pub fn rank(&self) -> usize {
        let ranks = self.blocks.iter().map(|block| block.rank);
        ranks.max().unwrap_or_default()
    }

    pub(crate) fn check(&self, blocks: usize, hidden: usize) -> Result<(), FitError> {
        if self.blocks.len() != blocks {
            return Err(FitError::RungBlocks {
                bits: self.bits,
                found: self.blocks.len(),
                expected: blocks,
            });
        }
        let width = |bits: u32| (1..=16).contains(&bits);
        let refined = self.refinement.is_none_or(|r| width(r.code_bits));
        for (block, spec) in self.blocks.iter().enumerate() {
            let stages = spec.groups > 0 && (spec.refined_groups > 0) == self.refinement.is_some();
            let axes = spec.groups.max(spec.refined_groups) <= spec.rank && spec.rank <= hidden;
            let mean = spec.frame_mean_bits <= spec.rank * usize::from(MAX_MEAN_BITS);
            if !(stages && axes && mean && refined && width(self.code_bits)) {
                return Err(FitError::Rung {
                    bits: self.bits,
                    block,
                    groups: spec.groups,
                    refined: spec.refined_groups,
                    rank: spec.rank,
                    hidden,
                });
            }
        }
        Ok(())
    }
}
