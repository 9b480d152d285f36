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
        })
    }

    /// The bytes of the block, padding included, checked as a reader does.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Invalid> {
        let layout = self.layout()?;
        let words = float16::encode("words", &self.first.words)?;
        let words2 = match &self.second {
            Some(stage) => float16::encode("words2", &stage.words)?,
            None => Vec::new(),
        };
        let second = self.second.as_ref();
        let block = StoredBlock {
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
