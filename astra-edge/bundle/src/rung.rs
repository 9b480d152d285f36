//! The part of a manifest about a rung: how its blocks are coded, and how well that was measured to do.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::quality::Quality;
use crate::shape::TensorRef;

/// One setting of the codec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// The rung's name: the bits per token per block that it is meant to take. Blocks may take more or fewer.
    pub bits: u32,
    /// Name of the [`Basis`](crate::Basis) it codes in.
    pub basis: String,
    /// Bits a code of the first stage, 1 to 16.
    pub code_bits: u32,
    /// Words a codebook of the first stage, K: `2^code_bits`.
    pub words: usize,
    /// The second stage, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refinement: Option<Refinement>,
    /// How each block is coded.
    pub blocks: Vec<RungBlock>,
    /// Where its codes are of differences to a prediction from the block before: one for each block but the first. Its basis
    /// then has exactly the axes it codes in each block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prediction: Vec<PredictionBlock>,
    /// Bits per token per block that it takes on the network, mean over blocks at four members with as many tokens: frames
    /// without their headers. For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_bits: Option<f64>,
    /// Measured agreement with the one-device answer, by number of devices.
    #[serde(default)]
    pub agreement: Vec<Agreement>,
    /// What to know about its calibration, where it differs from that of the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration_note: Option<String>,
}

/// A second stage, which codes the residual of those tokens of a frame that the first stage left the largest residual of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refinement {
    /// Share of a frame's tokens that are refined, in 1/256: 1 to [`MAX_SHARE`](Self::MAX_SHARE).
    pub share: u8,
    /// Bits a code, 1 to 16.
    pub code_bits: u32,
    /// Words a codebook, K2: `2^code_bits`.
    pub words: usize,
}

/// How a rung codes one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungBlock {
    /// Axes coded, R.
    pub rank: usize,
    /// Groups of the axes in the first stage, G; one code a group.
    pub groups: usize,
    /// Groups of the same axes in the second stage, H; 0 without one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refined_groups: usize,
    /// Bits of a frame's mean, without the byte of its gain; 0 where frames have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub frame_mean_bits: usize,
    /// First byte of its codebooks in `codebooks.bin`, a multiple of [`ALIGN`](crate::ALIGN).
    pub codebooks: u64,
}

fn is_zero(groups: &usize) -> bool {
    *groups == 0
}

/// Prediction of one block from the decoded state z^ of the block before: `y = z^ w + b` is expected, and what was decoded is
/// added to that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionBlock {
    /// `[rank of the block before, rank]`; rows in the coded order of the block before, columns in that of this block.
    pub w: TensorRef,
    /// `[rank]`, in the coded order of this block.
    pub b: TensorRef,
}

/// Agreement of one rung with the one-device answer, as means over the inputs scored. Measures that do not apply to the
/// task, or were not taken, are absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Devices the tokens were divided among, evenly.
    pub devices: usize,
    /// Inputs scored: images, or windows of text.
    pub inputs: usize,
    /// The measure that decides about a rung, with its interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Cosine of the class token's feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cls_cosine: Option<f64>,
    /// Cosine of the patch features, mean over patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_cosine: Option<f64>,
    /// Absolute error of the map, mean over its pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_mae: Option<f64>,
    /// Largest absolute error of the map over all pixels and inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_max: Option<f64>,
    /// Share of inputs with the same first class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
    /// Perplexity of the text scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// Perplexity of the same text on one device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity_exact: Option<f64>,
    /// Cosine of the text's embedding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_cosine: Option<f64>,
}

impl Refinement {
    /// Largest share, a quarter of the tokens.
    pub const MAX_SHARE: u8 = 64;
}

impl Agreement {
    /// Its quality for people, `class token cosine 0.9921 (0.9903 to 0.9938, 24 inputs, 4 devices)`, where that was measured.
    pub fn summary(&self) -> Option<String> {
        let quality = self.quality?;
        Some(format!(
            "{} {} ({}, {} inputs, {} devices)",
            quality.measure.name(),
            quality.measure.figure(quality.mean),
            quality.interval(),
            self.inputs,
            self.devices
        ))
    }
}

impl Rung {
    /// Mean over the blocks of the axes coded, rounded up; 0 without blocks.
    pub fn mean_rank(&self) -> usize {
        let ranks = self.blocks.iter().map(|block| block.rank);
        ranks.sum::<usize>().div_ceil(self.blocks.len().max(1))
    }

    /// What was measured at the number of devices nearest to `devices`, of two as near that of more devices, where agreement is
    /// lower. Measurements without [`Agreement::quality`] stand in only where there are no others.
    pub fn measured(&self, devices: usize) -> Option<&Agreement> {
        let order = |measured: &&Agreement| {
            let distance = measured.devices.abs_diff(devices);
            (
                measured.quality.is_none(),
                distance,
                Reverse(measured.devices),
            )
        };
        self.agreement.iter().min_by_key(order)
    }
}
