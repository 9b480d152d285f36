//! Codebooks in the orders that a search reads.

use astra_codec::{Codebook, CodebookError, MeanQuantizer, half_norms, word_major};
use astra_model::engine::{Stages, TableError};

use super::tensors::{BlockFrame, BlockTensors};

/// Codebooks of a block.
pub(in crate::tune) struct Codebooks {
    first: Tables,
    second: Option<Tables>,
    mean: Option<(Vec<u8>, Vec<f32>)>,
}

struct Tables {
    dims: Vec<u16>,
    words: usize,
    dim_major: Vec<f32>,
    word_major: Vec<f32>,
    half_norms: Vec<f32>,
}

impl Codebooks {
    /// Of `words` words in either stage.
    pub(in crate::tune) fn new(
        frame: &BlockFrame,
        words: [usize; 2],
        values: &BlockTensors<Vec<f32>>,
    ) -> Result<Self, TableError> {
        let [first, second] = words;
        let refined = values.second.as_ref();
        let refined = refined.map(|values| Tables::new(&frame.second_dims, second, values));
        Ok(Self {
            first: Tables::new(&frame.dims, first, &values.words)?,
            second: refined.transpose()?,
            mean: frame.mean.clone(),
        })
    }

    pub(in crate::tune) fn borrow(&self) -> Result<Stages<'_>, TableError> {
        let mean = self.mean.as_ref();
        let mean = mean.map(|(bits, steps)| MeanQuantizer::new(bits, steps));
        let second = self.second.as_ref();
        Ok(Stages {
            first: self.first.borrow()?,
            second: second.map(Tables::borrow).transpose()?,
            mean: mean.transpose()?,
        })
    }
}

impl Tables {
    fn new(dims: &[u16], words: usize, values: &[f32]) -> Result<Self, CodebookError> {
        let mut tables = Self {
            dims: dims.to_vec(),
            words,
            dim_major: values.to_vec(),
            word_major: vec![0.0; values.len()],
            half_norms: vec![0.0; dims.len() * words],
        };
        word_major(dims, words, values, &mut tables.word_major)?;
        half_norms(dims, words, values, &mut tables.half_norms)?;
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
