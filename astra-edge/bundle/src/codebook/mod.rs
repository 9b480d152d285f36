//! The binary layout of `codebooks.bin`.
//!
//! ```text
//! 0     8         12      64
//! +-----+---------+-------+---- a block of a rung ----------------------------------------+---- another ----
//! |magic| version | zeros | perm | dims | dims2 | zeros | words | zeros | words2 | zeros | perm ...
//! +-----+---------+-------+---------------------------------------------------------------+-----------------
//!                          u16[R] u16[G] u16[H]  to 64   f16[R*K] to 64  f16[R*K2] to 64
//! ```
//!
//! In a block whose frames have a mean, u16[R] of bits and f16[R] of steps follow dims2.
//!
//! - `layout`: sizes
//! - `header`: the first 64 bytes
//! - `stored`: the parts of a block as they lie in the file, and every check of them

mod header;
mod layout;
mod stored;

use std::borrow::Cow;

use crate::error::Invalid;
use crate::float16;

pub(crate) use header::{check_header, header};
pub(crate) use layout::{Layout, StageLayout};
pub(crate) use stored::StoredBlock;

/// The codebooks of one rung in one block.
///
/// `y` is what the rung's basis makes of a token. Position i of the coded vector is axis `perm[i]` of `y`.
#[derive(Debug, Clone, PartialEq)]
pub struct CodebookView<'a> {
    /// Axis of the basis at each position, R of them, all different.
    pub perm: &'a [u16],
    /// What codes every token.
    pub first: StageView<'a>,
    /// What codes the residual of refined tokens, over the same axes in the same order; `None` where the rung has no refinement.
    pub second: Option<StageView<'a>>,
    /// What codes the mean of a frame, over the same axes in the same order; `None` where frames have none.
    pub mean: Option<MeanView<'a>>,
}

/// A uniform scalar quantizer for each position of the coded vector.
#[derive(Debug, Clone, PartialEq)]
pub struct MeanView<'a> {
    /// Bits of each position, 0 to 8, 0 where it is not sent: R.
    pub bits: Cow<'a, [u8]>,
    /// Step of each position, positive where it is sent: R. On disk they are float16.
    pub steps: Cow<'a, [f32]>,
}

/// One stage of a block's codebooks.
///
/// Groups lie one after another in the coded vector, group g being `dims[g]` positions long. The words of a group are
/// dimension-major, `[dims[g]][K]`, so that a search runs over the words of one dimension at a time; the groups follow one
/// another, R x K values in all.
#[derive(Debug, Clone, PartialEq)]
pub struct StageView<'a> {
    /// Positions of each group, summing to R.
    pub dims: &'a [u16],
    /// Words, R x K. On disk they are float16.
    pub words: Cow<'a, [f32]>,
}

impl CodebookView<'_> {
    /// R, groups and words of the stages, or what makes the slices disagree.
    pub(crate) fn layout(&self) -> Result<Layout, Invalid> {
        let rank = self.perm.len();
        Ok(Layout {
            rank,
            first: self.first.layout("codebook", rank)?,
            second: match &self.second {
                Some(stage) => Some(stage.layout("second codebook", rank)?),
                None => None,
            },
            mean: self.mean.is_some(),
        })
    }

    /// The bytes of the block, padding included, checked as a reader does.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Invalid> {
        let layout = self.layout()?;
        let rank = layout.rank;
        let words = float16::encode("words", &self.first.words)?;
        let words2 = match &self.second {
            Some(stage) => float16::encode("words2", &stage.words)?,
            None => Vec::new(),
        };
        let (bits, steps) = match &self.mean {
            Some(mean) => mean.stored(rank)?,
            None => Default::default(),
        };
        let second = self.second.as_ref();
        let block = StoredBlock {
            mean_bits: &bits,
            mean_steps: &steps,
            perm: self.perm,
            dims: self.first.dims,
            words: &words,
            dims2: second.map_or(&[], |stage| stage.dims),
            words2: &words2,
        };
        // The basis is not known here; opening checks the axes against its rank.
        let any_basis = usize::from(u16::MAX) + 1;
        block.check("", any_basis)?;
        let bytes = block.to_bytes();
        debug_assert_eq!(bytes.len() as u64, layout.bytes());
        Ok(bytes)
    }
}

impl MeanView<'_> {
    /// Bits and steps in their stored types.
    fn stored(&self, rank: usize) -> Result<(Vec<u16>, Vec<u16>), Invalid> {
        let (bits, steps) = (self.bits.len(), self.steps.len());
        if bits != rank || steps != rank {
            return Err(Invalid::new(
                "mean",
                format!("{bits} bits, {steps} steps"),
                format!("{rank} of both, one an axis"),
            ));
        }
        let bits = self.bits.iter().copied().map(u16::from).collect();
        Ok((bits, float16::encode("mean_steps", &self.steps)?))
    }
}

impl StageView<'_> {
    fn layout(&self, what: &str, rank: usize) -> Result<StageLayout, Invalid> {
        let (groups, values) = (self.dims.len(), self.words.len());
        let words = values.checked_div(rank).unwrap_or_default();
        if groups == 0 || words == 0 || !values.is_multiple_of(rank) {
            return Err(Invalid::new(
                what,
                format!("{rank} axes, {groups} groups, {values} word values"),
                "axes and groups, and the same number of word values an axis",
            ));
        }
        Ok(StageLayout { groups, words })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
