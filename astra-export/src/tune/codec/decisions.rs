//! Codes and refined tokens, chosen as devices choose them, and everything else that a step holds fixed.

use core::ops::Range;

use astra_model::engine::TokenEncoder;
use astra_wire::Layout;
use candle_core::{Device, Tensor};

use super::codebooks::Codebooks;
use super::tensors::BlockFrame;
use crate::tune::TuneError;

/// What is decided about the tokens of an input in one block. Gradients take it as constant.
#[derive(Clone, Debug)]
pub(in crate::tune) struct Decisions {
    /// `[R, T]`: for each place the code of its group, by token.
    pub(super) codes: Tensor,
    pub(super) refined: Option<Refined>,
    /// `[T, R]`: what receivers read of the mean of each token's frame, where frames have one.
    pub(super) means: Option<Tensor>,
    /// `[T, R]`: what was coded when it was decided.
    pub(super) coded: Tensor,
    /// `[1, R]`: how much of a change of what is coded arrives at receivers.
    pub(super) gain: Tensor,
    /// `[T, R]`: added to what receivers decode.
    pub(super) noise: Option<Tensor>,
    /// Mean square of what is coded.
    pub(super) power: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Refined {
    /// The refined tokens.
    pub(super) tokens: Tensor,
    /// `[R, refined]`: for each place the second-stage code of its group.
    pub(super) codes: Tensor,
}

/// Noise of the distribution of the residual of a block: NAVQ (ASTRA, arXiv 2505.19342).
#[derive(Clone, Debug)]
pub(in crate::tune) struct Noise {
    /// `[T, R]`: independent, of variance 1.
    pub(in crate::tune) white: Tensor,
    /// `[R, R]`, times the root of the covariance, transposed.
    pub(in crate::tune) root: Tensor,
    /// `[1, R]`
    pub(in crate::tune) mean: Tensor,
    /// Multiplies the noise.
    pub(in crate::tune) lambda: f64,
}

impl Noise {
    pub(in crate::tune) fn values(&self) -> candle_core::Result<Tensor> {
        let noise = self.white.matmul(&self.root)?.broadcast_add(&self.mean)?;
        noise * self.lambda
    }
}

impl Decisions {
    /// Codes `coded`, `[T, R]`, member by member and frame by frame.
    pub(in crate::tune) fn of(
        block: usize,
        frame: &BlockFrame,
        (codebooks, layout): (&Codebooks, &Layout),
        coded: &Tensor,
        members: &[Range<usize>],
        noise: Option<&Noise>,
    ) -> Result<Self, TuneError> {
        let (tokens, rank) = coded.dims2()?;
        let stages = codebooks.borrow().map_err(TuneError::codebook(block))?;
        let mut encoder = TokenEncoder::new(tokens);
        encoder.reserve(&stages, layout);
        let values: Vec<f32> = coded.flatten_all()?.to_vec1()?;
        let (mut codes, mut refined, mut second) = (Vec::new(), Vec::new(), Vec::new());
        let mut decoded = vec![0.0; tokens * rank];
        let mut means = vec![
            0.0;
            if stages.mean.is_some() {
                tokens * rank
            } else {
                0
            }
        ];
        for range in members {
            let of_member = range.start * rank..range.end * rank;
            let rows = values.get(of_member.clone()).unwrap_or_default();
            let encoded = encoder.encode(&stages, layout, 0..range.len(), &mut rows.to_vec())?;
            codes.extend_from_slice(encoded.codes);
            second.extend_from_slice(encoded.refined);
            refined.extend(refined_tokens(layout, range, encoded.positions));
            if let (Some(mean), Some(means)) = (&stages.mean, means.get_mut(of_member.clone())) {
                encoder.decode_means(mean, means)?;
            }
            if let Some(decoded) = decoded.get_mut(of_member) {
                encoder.decode(&stages, decoded)?;
            }
        }
        let groups = stages.second.map_or(0, |second| second.groups());
        Ok(Self {
            codes: by_place(&codes, stages.first.groups(), &frame.dims)?,
            refined: match refined.is_empty() {
                true => None,
                false => Some(Refined {
                    codes: by_place(&second, groups, &frame.second_dims)?,
                    tokens: Tensor::new(refined, &Device::Cpu)?,
                }),
            },
            means: match stages.mean {
                Some(_) => Some(Tensor::from_vec(means, (tokens, rank), &Device::Cpu)?),
                None => None,
            },
            gain: Tensor::from_vec(gains(&values, &decoded, rank), (1, rank), &Device::Cpu)?,
            coded: coded.detach(),
            noise: noise.map(Noise::values).transpose()?,
            power: values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>()
                / values.len().max(1) as f64,
        })
    }
}

impl Decisions {
    /// Whether a token is coded in two stages.
    pub(in crate::tune) fn refines(&self) -> bool {
        self.refined.is_some()
    }
}

/// Refined tokens of a member, numbered as those of all members, from positions in their frames.
fn refined_tokens(layout: &Layout, range: &Range<usize>, positions: &[u16]) -> Vec<u32> {
    let mut rest = positions.iter();
    let mut tokens = Vec::with_capacity(positions.len());
    // Tokens are numbered with 16 bits.
    for frame in layout.split(range.len() as u16) {
        let count = usize::from(layout.refined(frame.len() as u16));
        let first = range.start + frame.start;
        let of_frame = rest.by_ref().take(count);
        tokens.extend(of_frame.map(|&position| (first + usize::from(position)) as u32));
    }
    tokens
}

/// Codes `[tokens, groups]` as `[R, tokens]`, each as often as its group has places.
fn by_place(codes: &[u16], groups: usize, dims: &[u16]) -> candle_core::Result<Tensor> {
    let tokens = codes.len().checked_div(groups).unwrap_or_default();
    let rank: usize = dims.iter().copied().map(usize::from).sum();
    let mut places = Vec::with_capacity(rank * tokens);
    for (group, &dim) in dims.iter().enumerate() {
        let of_group = codes.iter().skip(group).step_by(groups.max(1));
        let of_group: Vec<u32> = of_group.map(|&code| u32::from(code)).collect();
        for _ in 0..dim {
            places.extend_from_slice(&of_group);
        }
    }
    Tensor::from_vec(places, (rank, tokens), &Device::Cpu)
}

/// Regression of what is decoded on what was coded, axis by axis, from 0 to 1: coarse codes pass on less of a change.
///
/// In the Gaussian test channel of rate-distortion theory it is 1 - D / variance (Berger, Rate Distortion Theory, 1971).
fn gains(coded: &[f32], decoded: &[f32], rank: usize) -> Vec<f32> {
    let mut sums = vec![(0.0_f64, 0.0_f64); rank];
    let rows = coded.chunks_exact(rank).zip(decoded.chunks_exact(rank));
    for (coded, decoded) in rows {
        for (sums, (&r, &q)) in sums.iter_mut().zip(coded.iter().zip(decoded)) {
            sums.0 += f64::from(r) * f64::from(q);
            sums.1 += f64::from(r) * f64::from(r);
        }
    }
    let gain = |&(product, square): &(f64, f64)| {
        (product / square.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0) as f32
    };
    sums.iter().map(gain).collect()
}
