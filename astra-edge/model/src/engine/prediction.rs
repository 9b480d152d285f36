//! Closed-loop prediction across blocks: a block's y is predicted from what receivers decoded in the block before.
//!
//! Sender and receivers keep the decoded state ẑ of every token. In each block they predict ŷ = ẑ w + b, the codes are those of the
//! residual y - ŷ, and the new state is ŷ plus what both stages decoded of it: differential coding (Cutler, 1952; Jayant and Noll, "Digital
//! Coding of Waveforms", 1984) along the depth of the model.

use core::ops::Range;

use ort::session::{IoBinding, Session};

use super::bind::{self, BindingBuilder};
use super::buffers::{Buffers, Sizes};
use super::error::{slice, slice_mut};
use super::per_block::PerBlock;
use super::{Codec, EngineError};

/// States and predictions of a member's own tokens and of remote tokens. The state of remote tokens is the content of `remote`.
pub(super) struct Prediction {
    /// ẑ of the own tokens: [t, R] of each block.
    own: PerBlock,
    /// ŷ of the own tokens: [t, R] of each block.
    own_predicted: PerBlock,
    /// ŷ of the remote tokens: [r, R] of each block.
    remote_predicted: PerBlock,
    /// Of the own and of the remote tokens, for each block but the first.
    bindings: Vec<[IoBinding; 2]>,
}

impl Prediction {
    /// `None` where the codec does not predict.
    pub(super) fn new(
        session: Option<&Session>,
        codec: &Codec,
        sizes: &Sizes,
        buffers: &Buffers,
    ) -> Result<Option<Self>, EngineError> {
        let Some(session) = session.filter(|_| codec.predicts()) else {
            return Ok(None);
        };
        let own = PerBlock::new(sizes.tokens, codec.ranks())?;
        let mut own_predicted = PerBlock::new(sizes.tokens, codec.ranks())?;
        let mut remote_predicted = PerBlock::new(sizes.remote, codec.ranks())?;
        let mut bindings = Vec::new();
        for block in 1..codec.blocks() {
            let linear = codec.prediction(block).ok_or(EngineError::Length {
                what: "predictions of the codec",
                found: bindings.len(),
                expected: codec.blocks() - 1,
            })?;
            let bind = |states: &PerBlock, predicted: &mut PerBlock| {
                Ok::<_, EngineError>(
                    BindingBuilder::new(session, "bind predict")?
                        .input("state", states.get(block - 1)?)?
                        .input("w", &linear.w)?
                        .input("b", &linear.b)?
                        .output("predicted", predicted.get_mut(block)?)?
                        .build(),
                )
            };
            bindings.push([
                bind(&own, &mut own_predicted)?,
                bind(&buffers.remote, &mut remote_predicted)?,
            ]);
        }
        Ok(Some(Self {
            own,
            own_predicted,
            remote_predicted,
            bindings,
        }))
    }

    /// Predicts zero for the own tokens of the first block.
    pub(super) fn reset(&mut self) -> Result<(), EngineError> {
        self.own_predicted.values_mut(0)?.fill(0.0);
        Ok(())
    }

    /// Subtracts the prediction of some own tokens of a block from their rows of `y`, [t, R], which leaves the residual.
    pub(super) fn subtract(
        &self,
        block: usize,
        y: &mut [f32],
        tokens: &Range<usize>,
    ) -> Result<(), EngineError> {
        let rank = self.own_predicted.width(block)?;
        let rows = tokens.start * rank..tokens.end * rank;
        let predicted = self.own_predicted.values(block)?;
        let predicted = slice("predicted tokens", predicted, rows)?;
        EngineError::length("y", y.len(), predicted.len())?;
        y.iter_mut().zip(predicted).for_each(|(y, x)| *y -= x);
        Ok(())
    }

    /// Buffer for the decoded residual of the own tokens, before [`reconstruct_own`](Self::reconstruct_own).
    pub(super) fn own_residual_mut(&mut self, block: usize) -> Result<&mut [f32], EngineError> {
        self.own.values_mut(block)
    }

    /// Adds the prediction to the decoded residual of the own tokens, which gives their new state.
    pub(super) fn reconstruct_own(&mut self, block: usize) -> Result<(), EngineError> {
        let predicted = self.own_predicted.values(block)?;
        let state = self.own.values_mut(block)?;
        state.iter_mut().zip(predicted).for_each(|(z, x)| *z += x);
        Ok(())
    }

    /// Predicts the own tokens of the block after `block` from their state.
    pub(super) fn predict_own(
        &self,
        session: &mut Session,
        block: usize,
    ) -> Result<(), EngineError> {
        match self.bindings.get(block) {
            Some([own, _]) if !self.own_predicted.values(block + 1)?.is_empty() => {
                bind::run(session, own, "predict")
            }
            _ => Ok(()),
        }
    }

    /// Predicts the remote tokens of a block from their state in `remote`.
    pub(super) fn predict_remote(
        &mut self,
        session: &mut Session,
        block: usize,
    ) -> Result<(), EngineError> {
        let predicted = self.remote_predicted.values_mut(block)?;
        match block.checked_sub(1).and_then(|at| self.bindings.get(at)) {
            Some([_, remote]) if !predicted.is_empty() => bind::run(session, remote, "predict"),
            _ => {
                predicted.fill(0.0);
                Ok(())
            }
        }
    }

    /// Adds the prediction to the decoded residuals in `remote`, which gives the new state of the remote tokens.
    pub(super) fn reconstruct_remote(
        &self,
        block: usize,
        remote: &mut [f32],
    ) -> Result<(), EngineError> {
        let predicted = self.remote_predicted.values(block)?;
        remote.iter_mut().zip(predicted).for_each(|(z, x)| *z += x);
        Ok(())
    }
}

/// Moves the first rows of `remote`, which hold the tokens listed in `arrived` in ascending order, to the rows of those tokens; `token`
/// maps a row to its token. Rows of missing tokens become zero, the most likely residual.
pub(super) fn scatter_rows(
    remote: &mut [f32],
    rank: usize,
    arrived: &[usize],
    token: impl Fn(usize) -> usize,
) -> Result<(), EngineError> {
    let rows = remote.len() / rank.max(1);
    let mut left = arrived;
    for row in (0..rows).rev() {
        let to = row * rank..(row + 1) * rank;
        match left.split_last() {
            Some((&last, rest)) if last == token(row) => {
                // Rows only move to higher indexes, and those after this one have moved already.
                let from = rest.len() * rank;
                remote.copy_within(from..from + rank, to.start);
                left = rest;
            }
            _ => slice_mut("remote rows", remote, to)?.fill(0.0),
        }
    }
    EngineError::length("rows of tokens that are not remote", left.len(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_move_to_their_tokens_and_missing_ones_become_zero() {
        // Own token 2 of 0..6; of the five others 1, 4 and 5 arrived.
        let token = |row| if row < 2 { row } else { row + 1 };
        let mut remote = [1.0, 1.5, 4.0, 4.5, 5.0, 5.5, 9.0, 9.0, 9.0, 9.0];
        scatter_rows(&mut remote, 2, &[1, 4, 5], token).unwrap();
        let expected = [0.0, 0.0, 1.0, 1.5, 0.0, 0.0, 4.0, 4.5, 5.0, 5.5];
        assert_eq!(remote, expected);
        scatter_rows(&mut remote, 2, &[], token).unwrap();
        assert_eq!(remote, [0.0; 10]);
    }

    #[test]
    fn rows_stay_where_none_is_missing() {
        let mut remote = [1.0, 2.0, 3.0];
        scatter_rows(&mut remote, 1, &[0, 1, 2], |row| row).unwrap();
        assert_eq!(remote, [1.0, 2.0, 3.0]);
        // A token that is not among the remote ones.
        assert!(scatter_rows(&mut remote, 1, &[3], |row| row).is_err());
    }
}
