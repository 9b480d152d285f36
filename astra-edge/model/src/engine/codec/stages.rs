//! The codebooks of one block, of one stage or two.

use astra_bundle::StageView;
use astra_codec::{Codebook, CodebookError};

/// Borrowed codebooks of one block at one rung.
#[derive(Clone, Copy, Debug)]
pub struct Stages<'a> {
    /// Codes every token.
    pub first: Codebook<'a>,
    /// Codes the residual of the refined tokens of a frame, over the same axes.
    pub second: Option<Codebook<'a>>,
}

/// The same, in the orders that encoding and decoding read.
pub(super) struct StageTables {
    first: CodebookTables,
    second: Option<CodebookTables>,
}

struct CodebookTables {
    dims: Vec<u16>,
    words: usize,
    dim_major: Vec<f32>,
    word_major: Vec<f32>,
    half_norms: Vec<f32>,
}

impl StageTables {
    /// `words` are those of a codebook of either stage.
    pub(super) fn new(
        first: (&StageView<'_>, usize),
        second: Option<(&StageView<'_>, usize)>,
    ) -> Result<Self, CodebookError> {
        let tables = |(stage, words): (&StageView<'_>, usize)| {
            CodebookTables::new(stage.dims, words, &stage.words)
        };
        Ok(Self {
            first: tables(first)?,
            second: second.map(tables).transpose()?,
        })
    }

    pub(super) fn borrow(&self) -> Result<Stages<'_>, CodebookError> {
        let second = self.second.as_ref();
        Ok(Stages {
            first: self.first.borrow()?,
            second: second.map(CodebookTables::borrow).transpose()?,
        })
    }
}

impl CodebookTables {
    fn new(dims: &[u16], words: usize, dim_major: &[f32]) -> Result<Self, CodebookError> {
        let mut tables = Self {
            dims: dims.to_vec(),
            words,
            dim_major: dim_major.to_vec(),
            word_major: vec![0.0; dim_major.len()],
            half_norms: vec![0.0; dims.len() * words],
        };
        astra_codec::word_major(dims, words, dim_major, &mut tables.word_major)?;
        astra_codec::half_norms(dims, words, dim_major, &mut tables.half_norms)?;
        tables.borrow()?;
        Ok(tables)
    }

    fn borrow(&self) -> Result<Codebook<'_>, CodebookError> {
        Codebook::new(
            &self.dims,
            self.words,
            &self.dim_major,
            &self.word_major,
            &self.half_norms,
        )
    }
}
