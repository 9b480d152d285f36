//! One block of a codec: its matrices as tensors.

use astra_bundle::{BasisView, CodebookView, PredictionView};
use astra_wire::Layout;
use ort::value::Tensor;

use super::stages::StageTables;
use super::{RungTables, Stages};
use crate::engine::EngineError;
use crate::engine::tensors::tensor;

/// What a rung has for one block, on disk or in memory.
#[derive(Clone, Debug)]
pub struct BlockTables<'a> {
    /// Its basis, of at least the axes that are coded.
    pub basis: BasisView<'a>,
    /// Which axes are coded, and by what.
    pub codebook: CodebookView<'a>,
    /// How it is predicted; `None` in the first block and where the rung does not predict.
    pub prediction: Option<PredictionView<'a>>,
}

/// One block of a codec.
pub(super) struct Block {
    /// Axes of a decoded token, R; the hidden width in exact mode.
    pub(super) rank: usize,
    pub(super) layout: Layout,
    pub(super) matrices: Matrices,
    /// Prediction from the block before, where the rung predicts.
    pub(super) prediction: Option<Linear>,
    /// `None` in exact mode.
    pub(super) stages: Option<StageTables>,
}

/// Inputs of the graphs: `enc_w` [R, D], `enc_b` `[R]`, `dec_w` [R, 2W], `dec_b` [2W]. In exact mode `enc_w` is [0, D] and
/// R of `dec_w` is D, or 2W where graphs compute keys and values.
pub(in crate::engine) struct Matrices {
    pub(in crate::engine) enc_w: Tensor<f32>,
    pub(in crate::engine) enc_b: Tensor<f32>,
    pub(in crate::engine) dec_w: Tensor<f32>,
    pub(in crate::engine) dec_b: Tensor<f32>,
}

/// `w` [R before, R] and `b` [R]: the prediction of a token is its state times `w`, plus `b`.
pub(in crate::engine) struct Linear {
    pub(in crate::engine) w: Tensor<f32>,
    pub(in crate::engine) b: Tensor<f32>,
}

impl Block {
    /// `before` is the rank of the block before.
    pub(super) fn new(
        rung: &RungTables,
        hidden: usize,
        block: usize,
        before: Option<usize>,
        tables: &BlockTables<'_>,
    ) -> Result<Self, EngineError> {
        let BlockTables {
            basis,
            codebook,
            prediction,
        } = tables;
        let rank = codebook.perm.len();
        let words = [1 << rung.code_bits, 1 << rung.refined_code_bits];
        let stages = StageTables::new(codebook, words);
        let stages = stages.map_err(|source| EngineError::Codebook { block, source })?;
        let borrowed = stages.borrow();
        let borrowed = borrowed.map_err(|source| EngineError::Codebook { block, source })?;
        for stage in [Some(borrowed.first), borrowed.second]
            .into_iter()
            .flatten()
        {
            EngineError::length("axes of a codebook", stage.rank(), rank)?;
        }
        if let Some(mean) = borrowed.mean {
            EngineError::length("axes of a mean", mean.rank(), rank)?;
        }
        Ok(Self {
            rank,
            layout: rung.layout(&borrowed)?,
            matrices: Matrices::new(basis, hidden, codebook.perm)?,
            prediction: (prediction.as_ref().zip(before))
                .map(|(view, before)| {
                    Ok::<_, EngineError>(Linear {
                        w: tensor(&view.w, [before, rank])?,
                        b: tensor(&view.b, [rank])?,
                    })
                })
                .transpose()?,
            stages: Some(stages),
        })
    }

    /// Without codes.
    pub(super) fn uncoded(rank: usize, layout: Layout, matrices: Matrices) -> Self {
        Self {
            rank,
            layout,
            matrices,
            prediction: None,
            stages: None,
        }
    }

    pub(super) fn stages(&self, block: usize) -> Result<Option<Stages<'_>>, EngineError> {
        let stages = self.stages.as_ref().map(StageTables::borrow);
        let failed = |source| EngineError::Codebook { block, source };
        stages.transpose().map_err(failed)
    }
}

impl Matrices {
    /// Axes are permuted to the codebooks' order, so that the axes of a group are adjacent; the bases on disk serve all rungs.
    fn new(basis: &BasisView<'_>, hidden: usize, perm: &[u16]) -> Result<Self, EngineError> {
        let (kv, rank) = (basis.dec_b.len(), perm.len());
        Ok(Self {
            enc_w: tensor(&rows(&basis.enc_w, hidden, perm), [rank, hidden])?,
            enc_b: tensor(&rows(&basis.enc_b, 1, perm), [rank])?,
            dec_w: tensor(&rows(&basis.dec_w, kv, perm), [rank, kv])?,
            dec_b: tensor(&basis.dec_b, [kv])?,
        })
    }

    /// Matrices that encode nothing and decode rows of `width` values as they are.
    pub(super) fn identity(hidden: usize, width: usize) -> Result<Self, EngineError> {
        let on_diagonal = |place| place / width == place % width;
        let values = (0..width * width).map(|place| f32::from(u8::from(on_diagonal(place))));
        let values: Vec<f32> = values.collect();
        Self::decoding(hidden, width, &values, &vec![0.0; width])
    }

    /// Matrices that encode nothing: `rank` of `dec_w` [rank, 2W] with `dec_b` [2W].
    pub(super) fn decoding(
        hidden: usize,
        rank: usize,
        dec_w: &[f32],
        dec_b: &[f32],
    ) -> Result<Self, EngineError> {
        Ok(Self {
            enc_w: tensor(&[], [0, hidden])?,
            enc_b: tensor(&[], [0])?,
            dec_w: tensor(dec_w, [rank, dec_b.len()])?,
            dec_b: tensor(dec_b, [dec_b.len()])?,
        })
    }
}

/// The rows listed in `perm`, in its order; a `perm` that lists a row that does not exist gives too few.
fn rows(matrix: &[f32], width: usize, perm: &[u16]) -> Vec<f32> {
    perm.iter()
        .filter_map(|&row| matrix.chunks_exact(width).nth(usize::from(row)))
        .flatten()
        .copied()
        .collect()
}
