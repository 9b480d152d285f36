//! Closed-loop prediction across blocks: a block's y is predicted from what receivers decoded in the block before.
//!
//! Sender and receivers keep the decoded state ẑ of every token. In each block they predict ŷ = ẑ w + b, the codes are those of the
//! residual y - ŷ, and the new state is ŷ plus the decoded residual: differential coding (Cutler, 1952; Jayant and Noll, "Digital
//! Coding of Waveforms", 1984) along the depth of the model.

use core::ops::Range;

use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::bind::{self, BindingBuilder};
use super::buffers::{Buffers, Sizes, zeros};
use super::error::{slice, slice_mut};
use super::{Codec, EngineError};

/// States and predictions of a member's own tokens and of remote tokens. The state of remote tokens is the content of `remote`.
pub(super) struct Prediction {
    /// ẑ of the own tokens: [t, R].
    own: Tensor<f32>,
    /// ŷ of the own tokens: [t, R].
    own_predicted: Tensor<f32>,
    /// ŷ of the remote tokens: [r, R].
    remote_predicted: Tensor<f32>,
    rank: usize,
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
        let own = zeros([sizes.tokens, sizes.rank])?;
        let mut own_predicted = zeros([sizes.tokens, sizes.rank])?;
        let mut remote_predicted = zeros([sizes.remote, sizes.rank])?;
        let mut bindings = Vec::new();
        for block in 1..codec.blocks() {
            let linear = codec.prediction(block).ok_or(EngineError::Length {
                what: "predictions of the codec",
                found: bindings.len(),
                expected: codec.blocks() - 1,
            })?;
            let bind = |state: &Tensor<f32>, predicted: &mut Tensor<f32>| {
                Ok::<_, EngineError>(
                    BindingBuilder::new(session, "bind predict")?
                        .input("state", state)?
                        .input("w", &linear.w)?
                        .input("b", &linear.b)?
                        .output("predicted", predicted)?
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
            rank: sizes.rank,
            bindings,
        }))
    }

    /// Predicts zero for the own tokens, as in the first block.
    pub(super) fn reset(&mut self) {
        self.own_predicted.extract_tensor_mut().1.fill(0.0);
    }

    /// Subtracts the prediction of some own tokens from their rows of `y`, [t, R], which leaves the residual.
    pub(super) fn subtract(&self, y: &mut [f32], tokens: Range<usize>) -> Result<(), EngineError> {
        let rows = tokens.start * self.rank..tokens.end * self.rank;
        let (_, predicted) = self.own_predicted.extract_tensor();
        let predicted = slice("predicted tokens", predicted, rows.clone())?;
        let y = slice_mut("y", y, rows)?;
        y.iter_mut().zip(predicted).for_each(|(y, x)| *y -= x);
        Ok(())
    }

    /// Buffer for the decoded residual of the own tokens, before [`reconstruct_own`](Self::reconstruct_own).
    pub(super) fn own_residual_mut(&mut self) -> &mut [f32] {
        self.own.extract_tensor_mut().1
    }

    /// Adds the prediction to the decoded residual of the own tokens, which gives their new state.
    pub(super) fn reconstruct_own(&mut self) {
        let (_, state) = self.own.extract_tensor_mut();
        let (_, predicted) = self.own_predicted.extract_tensor();
        state.iter_mut().zip(predicted).for_each(|(z, x)| *z += x);
    }

    /// Predicts the own tokens of the next block from their state.
    pub(super) fn predict_own(
        &self,
        session: &mut Session,
        block: usize,
    ) -> Result<(), EngineError> {
        match self.bindings.get(block) {
            Some([own, _]) if !self.own_predicted.extract_tensor().1.is_empty() => {
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
        let (_, predicted) = self.remote_predicted.extract_tensor_mut();
        match block.checked_sub(1).and_then(|at| self.bindings.get(at)) {
            Some([_, remote]) if !predicted.is_empty() => bind::run(session, remote, "predict"),
            _ => {
                predicted.fill(0.0);
                Ok(())
            }
        }
    }

    /// Adds the prediction to the decoded residuals in `remote`, which gives the new state of the remote tokens.
    pub(super) fn reconstruct_remote(&self, remote: &mut [f32]) {
        let (_, predicted) = self.remote_predicted.extract_tensor();
        remote.iter_mut().zip(predicted).for_each(|(z, x)| *z += x);
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
