//! The codebooks of one block, of one stage or two.

use astra_bundle::{CodebookView, StageView};
use astra_codec::{Codebook, MeanQuantizer};

use crate::engine::error::TableError;

/// Borrowed codebooks of one block at one rung.
#[derive(Clone, Copy, Debug)]
pub struct Stages<'a> {
    /// Codes every token.
    pub first: Codebook<'a>,
    /// Codes the residual of the refined tokens of a frame, over the same axes.
    pub second: Option<Codebook<'a>>,
    /// Codes the mean of a frame, over the same axes.
    pub mean: Option<MeanQuantizer<'a>>,
}

/// The same, in the orders that encoding and decoding read.
pub(super) struct StageTables {
    first: CodebookTables,
    second: Option<CodebookTables>,
    mean: Option<MeanTables>,
}

struct MeanTables {
    bits: Vec<u8>,
    steps: Vec<f32>,
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
    pub(super) fn new(view: &CodebookView<'_>, words: [usize; 2]) -> Result<Self, TableError> {
        let tables =
            |stage: &StageView<'_>, words| CodebookTables::new(stage.dims, words, &stage.words);
        let second = view.second.as_ref();
        Ok(Self {
            first: tables(&view.first, words[0])?,
            second: second.map(|stage| tables(stage, words[1])).transpose()?,
            mean: view.mean.as_ref().map(|mean| MeanTables {
                bits: mean.bits.to_vec(),
                steps: mean.steps.to_vec(),
            }),
        })
    }

    pub(super) fn borrow(&self) -> Result<Stages<'_>, TableError> {
        let mean = self.mean.as_ref();
        let mean = mean.map(|mean| MeanQuantizer::new(&mean.bits, &mean.steps));
        let second = self.second.as_ref();
        Ok(Stages {
            first: self.first.borrow()?,
            second: second.map(CodebookTables::borrow).transpose()?,
            mean: mean.transpose()?,
        })
    }
}

impl CodebookTables {
    fn new(dims: &[u16], words: usize, dim_major: &[f32]) -> Result<Self, TableError> {
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

    fn borrow(&self) -> Result<Codebook<'_>, TableError> {
        Ok(Codebook::new(
            &self.dims,
            self.words,
            &self.dim_major,
            &self.word_major,
            &self.half_norms,
        )?)
    }
}
