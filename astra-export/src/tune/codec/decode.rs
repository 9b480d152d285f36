//! What receivers decode, with gradients.
//!
//! Codes do not change with what is coded as long as they stay the same, so the gradient of what is decoded is that of the words
//! alone; a change in what is coded is passed on by a straight-through estimate (Bengio et al., 2013, as in VQ-VAE, van den Oord
//! et al., 2017). With r what is coded, q the words with the mean of the frame, and g the gain of its [`Decisions`],
//!
//! ```text
//! z^ = prediction + q + g (r - r at the decision)
//! ```
//!
//! has the value of what receivers decode.

use candle_core::{Result, Tensor};

use super::decisions::{Decisions, Noise};
use super::tensors::BlockTensors;
use super::{BlockFrame, Codebooks};
use crate::tune::TuneError;
use crate::tune::model::{Division, Remote};
use astra_wire::Layout;

/// One block of a rung at a step of the training.
pub(in crate::tune) struct Decoder<'a> {
    pub(in crate::tune) block: usize,
    pub(in crate::tune) frame: &'a BlockFrame,
    pub(in crate::tune) tensors: &'a BlockTensors<Tensor>,
}

/// Tokens as receivers have them.
#[derive(Clone, Debug)]
pub(in crate::tune) struct Coded {
    /// `[T, R]`: what the next block is predicted from.
    pub(in crate::tune) state: Tensor,
    /// Keys and values, before rotation.
    pub(in crate::tune) remote: Remote,
    /// Mean squared difference of what is coded to its words, in its mean square.
    pub(in crate::tune) distortion: Tensor,
}

impl Decoder<'_> {
    /// The prediction, where there is one, and what is coded of tokens with normalized rows `n`, `[T, D]`.
    fn coded(&self, n: &Tensor, before: Option<&Tensor>) -> Result<(Option<Tensor>, Tensor)> {
        let tensors = self.tensors;
        let y = n.matmul(&tensors.enc_w.t()?)?;
        let y = y.broadcast_add(&tensors.enc_b)?;
        let (Some(before), Some([w, b])) = (before, &tensors.prediction) else {
            return Ok((None, y));
        };
        let predicted = before.matmul(w)?.broadcast_add(b)?;
        let coded = (y - &predicted)?;
        Ok((Some(predicted), coded))
    }

    /// Decides how the tokens are coded.
    ///
    /// # Errors
    /// Tensors or codebooks do not fit together.
    pub(in crate::tune) fn decide(
        &self,
        (n, before): (&Tensor, Option<&Tensor>),
        codebooks: (&Codebooks, &Layout),
        division: &Division,
        noise: Option<&Noise>,
    ) -> core::result::Result<Decisions, TuneError> {
        let (_, coded) = self.coded(n, before)?;
        let members = &division.ranges;
        Decisions::of(self.block, self.frame, codebooks, &coded, members, noise)
    }

    /// What is decoded of tokens that were decided on.
    pub(in crate::tune) fn decode(
        &self,
        n: &Tensor,
        before: Option<&Tensor>,
        decisions: &Decisions,
    ) -> Result<Coded> {
        let (predicted, coded) = self.coded(n, before)?;
        let words = self.words(decisions)?;
        let difference = (&coded - &words)?;
        let distortion = (difference.sqr()?.mean_all()? / decisions.power.max(f64::MIN_POSITIVE))?;
        let passed = (coded - &decisions.coded)?.broadcast_mul(&decisions.gain)?;
        let mut state = (words + passed)?;
        if let Some(predicted) = predicted {
            state = (state + predicted)?;
        }
        let decoded = match &decisions.noise {
            Some(noise) => (&state + noise)?,
            None => state.clone(),
        };
        let both = decoded.matmul(&self.tensors.dec_w)?;
        let both = both.broadcast_add(&self.tensors.dec_b)?;
        let width = both.dim(1)? / 2;
        Ok(Coded {
            state,
            remote: Remote {
                keys: both.narrow(1, 0, width)?,
                values: both.narrow(1, width, width)?,
            },
            distortion,
        })
    }

    /// `[T, R]`: the words of both stages, and the means of frames.
    fn words(&self, decisions: &Decisions) -> Result<Tensor> {
        let mut first = self.tensors.words.gather(&decisions.codes, 1)?.t()?;
        if let Some(means) = &decisions.means {
            first = (first + means)?;
        }
        let (Some(refined), Some(second)) = (&decisions.refined, &self.tensors.second) else {
            return Ok(first);
        };
        let second = second.gather(&refined.codes, 1)?.t()?.contiguous()?;
        first.contiguous()?.index_add(&refined.tokens, &second, 0)
    }

    /// `[T, R]`: what the words leave, of tokens that were decided on.
    pub(in crate::tune) fn residual(&self, decisions: &Decisions) -> Result<Tensor> {
        &decisions.coded - self.words(decisions)?
    }
}
