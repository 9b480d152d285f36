//! Closed-loop prediction across blocks: what a block's y will be, from what receivers know of the block before.
//!
//! Sender and receivers keep the decoded state ẑ of every token. In block b they expect ŷ = ẑ w + b of it, the codes are those of the
//! residual y - ŷ, and the new state is ŷ plus the decoded residual: differential coding (Cutler, 1952; Jayant and Noll, "Digital
//! Coding of Waveforms", 1984) along the depth of the model.

use core::ops::Range;

use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::bind::{self, Bind};
use super::buffers::{Buffers, Sizes, zeros};
use super::error::{part, part_mut};
use super::{Codec, EngineError};

/// States and expectations of a member's tokens, and of those it attends to. The state of the latter is what decoding left in
/// `remote`.
pub(super) struct Prediction {
    /// ẑ of the own tokens: [t, R].
    own: Tensor<f32>,
    /// ŷ of the own tokens: [t, R].
    own_expected: Tensor<f32>,
    /// ŷ of remote tokens: [r, R].
    remote_expected: Tensor<f32>,
    rank: usize,
    /// Of the own and of remote tokens, for each block but the first.
    bindings: Vec<[IoBinding; 2]>,
}

impl Prediction {
    /// `None` where the codec predicts nothing.
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
        let mut own_expected = zeros([sizes.tokens, sizes.rank])?;
        let mut remote_expected = zeros([sizes.remote, sizes.rank])?;
        let mut bindings = Vec::new();
        for linear in (1..codec.blocks()).filter_map(|block| codec.prediction(block)) {
            let bind = |state: &Tensor<f32>, expected: &mut Tensor<f32>| {
                Ok::<_, EngineError>(
                    Bind::new(session, "bind predict")?
                        .input("state", state)?
                        .input("w", &linear.w)?
                        .input("b", &linear.b)?
                        .output("predicted", expected)?
                        .done(),
                )
            };
            bindings.push([
                bind(&own, &mut own_expected)?,
                bind(&buffers.remote, &mut remote_expected)?,
            ]);
        }
        Ok(Some(Self {
            own,
            own_expected,
            remote_expected,
            rank: sizes.rank,
            bindings,
        }))
    }

    /// Expects nothing of the own tokens, as in the first block.
    pub(super) fn begin(&mut self) {
        self.own_expected.extract_tensor_mut().1.fill(0.0);
    }

    /// What is expected of some own tokens is taken off their rows of `y`, [t, R]: the residual remains.
    pub(super) fn residual(&self, y: &mut [f32], tokens: Range<usize>) -> Result<(), EngineError> {
        let rows = tokens.start * self.rank..tokens.end * self.rank;
        let (_, expected) = self.own_expected.extract_tensor();
        let expected = part("expected tokens", expected, rows.clone())?;
        let y = part_mut("y", y, rows)?;
        y.iter_mut().zip(expected).for_each(|(y, x)| *y -= x);
        Ok(())
    }

    /// Where the decoded residual of the own tokens goes, before [`confirm`](Self::confirm).
    pub(super) fn own_mut(&mut self) -> &mut [f32] {
        self.own.extract_tensor_mut().1
    }

    /// The own state, of the decoded residual in its place.
    pub(super) fn confirm(&mut self) {
        let (_, state) = self.own.extract_tensor_mut();
        let (_, expected) = self.own_expected.extract_tensor();
        state.iter_mut().zip(expected).for_each(|(z, x)| *z += x);
    }

    /// What is expected of the own tokens in the block behind, from their state.
    pub(super) fn expect_own(
        &self,
        session: &mut Session,
        block: usize,
    ) -> Result<(), EngineError> {
        match self.bindings.get(block) {
            Some([own, _]) if !self.own_expected.extract_tensor().1.is_empty() => {
                bind::run(session, own, "predict")
            }
            _ => Ok(()),
        }
    }

    /// What is expected of remote tokens, from their state in `remote`.
    pub(super) fn expect(
        &mut self,
        session: &mut Session,
        block: usize,
    ) -> Result<(), EngineError> {
        let (_, expected) = self.remote_expected.extract_tensor_mut();
        match block.checked_sub(1).and_then(|at| self.bindings.get(at)) {
            Some([_, remote]) if !expected.is_empty() => bind::run(session, remote, "predict"),
            _ => {
                expected.fill(0.0);
                Ok(())
            }
        }
    }

    /// The remote state, of the decoded residuals in its place.
    pub(super) fn complete(&self, remote: &mut [f32]) {
        let (_, expected) = self.remote_expected.extract_tensor();
        remote.iter_mut().zip(expected).for_each(|(z, x)| *z += x);
    }
}

/// Spreads the first rows of `remote`, of the tokens that `arrived` names in ascending order, to their own places; `token` says of
/// which token each row is. Rows of which nothing arrived become zero: no residual is the likeliest there is.
pub(super) fn spread(
    remote: &mut [f32],
    rank: usize,
    arrived: &[usize],
    token: impl Fn(usize) -> usize,
) {
    let rows = remote.len().checked_div(rank).unwrap_or(0);
    let mut left = arrived;
    for row in (0..rows).rev() {
        let place = row * rank..(row + 1) * rank;
        match left.split_last() {
            Some((&last, rest)) if last == token(row) => {
                // Rows only move down, and those behind have moved already.
                let from = rest.len() * rank;
                remote.copy_within(from..from + rank, place.start);
                left = rest;
            }
            _ => {
                if let Some(gap) = remote.get_mut(place) {
                    gap.fill(0.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_find_their_places_and_gaps_are_empty() {
        // Own token 2 of 0..6; of the five others 1, 4 and 5 came.
        let token = |row| if row < 2 { row } else { row + 1 };
        let mut remote = [1.0, 1.5, 4.0, 4.5, 5.0, 5.5, 9.0, 9.0, 9.0, 9.0];
        spread(&mut remote, 2, &[1, 4, 5], token);
        let expected = [0.0, 0.0, 1.0, 1.5, 0.0, 0.0, 4.0, 4.5, 5.0, 5.5];
        assert_eq!(remote, expected);
        spread(&mut remote, 2, &[], token);
        assert_eq!(remote, [0.0; 10]);
    }

    #[test]
    fn rows_that_are_all_there_stay() {
        let mut remote = [1.0, 2.0, 3.0];
        spread(&mut remote, 1, &[0, 1, 2], |row| row);
        assert_eq!(remote, [1.0, 2.0, 3.0]);
    }
}
