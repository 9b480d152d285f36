//! The codec fitted to a model: from sampled tokens to transforms and codebooks.
//!
//! - `samples`: what calibration keeps of a block, and how much each token matters
//! - `metric`: how much an error in each direction matters to attention
//! - `transform`: the axes to code, and the way from those to keys and values
//! - `groups`: axes dealt to groups
//! - `kmeans`: the words of one group
//! - `contiguous`: consecutive axes divided into groups
//! - `rungs`: the settings that a bundle carries
//! - `mean`: what codes the mean of a frame
//! - `stages`: the codebooks of one block
//! - `table`: the rungs of a bundle where nothing else is asked for
//! - `chain`: a rung in all blocks, each predicted from the previous one
//!
//! A fit depends on samples, weights, rungs and seed alone, not on how many threads do it: every group draws from a generator of
//! its own.

mod chain;
mod contiguous;
mod error;
mod groups;
mod kmeans;
mod mean;
mod metric;
mod rungs;
mod samples;
mod stages;
mod table;
mod transform;

#[cfg(test)]
mod tests;

use rayon::prelude::*;

pub use chain::FittedPrediction;
pub use error::FitError;
pub use mean::FittedMean;
pub use rungs::{BasisKind, BlockSpec, Refinement, RungSpec};
pub use samples::{AttentionShape, BlockSamples, BlockWeights, RowsError};
pub use stages::{FittedCodebooks, FittedStage};
pub use transform::FittedTransform;

use crate::progress::{Meter, Progress};
use chain::Chain;
use transform::{Spread, fit_transform};

/// Everything the codec needs, for all blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Bases that rungs refer to by name.
    pub bases: Vec<FittedBasis>,
    /// Rungs in the order requested.
    pub rungs: Vec<FittedRung>,
}

/// A basis.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedBasis {
    /// What rungs call it.
    pub name: String,
    /// Axes: as many as the largest rung that uses it.
    pub rank: usize,
    /// A transform a block.
    pub blocks: Vec<FittedTransform>,
}

/// A rung.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedRung {
    /// What was requested, but that the rungs of a model of one block do not predict.
    pub spec: RungSpec,
    /// Codebooks of each block.
    pub blocks: Vec<FittedCodebooks>,
    /// Predictions of each block but the first; none of a rung that does not predict.
    pub prediction: Vec<FittedPrediction>,
}

/// Fits every rung in every block. `samples` and `weights` hold one entry a block.
///
/// # Errors
/// Samples and weights do not fit each other or a rung does not fit the model.
pub fn fit(
    samples: &[BlockSamples],
    weights: &[BlockWeights<'_>],
    rungs: &[RungSpec],
    seed: u64,
    progress: Progress<'_>,
) -> Result<Fitted, FitError> {
    if samples.len() != weights.len() {
        return Err(FitError::Blocks {
            samples: samples.len(),
            weights: weights.len(),
        });
    }
    let expected = samples.len();
    for (block, (samples, weights)) in samples.iter().zip(weights).enumerate() {
        samples::check(block, samples, weights)?;
        rungs
            .iter()
            .try_for_each(|rung| rung.check(expected, weights.shape.hidden))?;
    }
    // The only block of a model has none to be predicted from.
    let rungs: Vec<RungSpec> = rungs
        .iter()
        .map(|rung| RungSpec {
            predicted: rung.predicted && samples.len() > 1,
            ..rung.clone()
        })
        .collect();
    let works = rungs
        .iter()
        .flat_map(|rung| (0..samples.len()).map(|block| chain::work(rung, block)));
    let plan = Plan {
        seed,
        meter: Meter::new(works.sum(), progress),
    };
    let bases = [BasisKind::Plain, BasisKind::Attention].map(|kind| {
        let used = rungs.iter().any(|rung| rung.basis == kind);
        used.then(|| all_axes(samples, weights, kind))
    });
    let [plain, attention] = &bases;
    let chains = rungs.par_iter().map(|rung| {
        let basis = match rung.basis {
            BasisKind::Plain => plain,
            BasisKind::Attention => attention,
        };
        let transforms: Vec<_> = basis.iter().flatten().collect();
        plan.fit_chain(rung, samples, &transforms)
    });
    let chains = chains.collect::<Result<Vec<_>, _>>()?;
    Ok(Fitted::of(rungs, chains))
}

/// The transform of each block along all axes.
fn all_axes(
    samples: &[BlockSamples],
    weights: &[BlockWeights<'_>],
    kind: BasisKind,
) -> Vec<FittedTransform> {
    let blocks = samples.par_iter().zip(weights);
    let transform = |(samples, weights): (&BlockSamples, &BlockWeights<'_>)| {
        let hidden = weights.shape.hidden;
        let spread = Spread::of(samples.inputs(), samples.importance(), hidden);
        let metric = match kind {
            BasisKind::Plain => None,
            BasisKind::Attention => Some(metric::attention_metric(samples, weights)),
        };
        fit_transform(&spread, metric.as_ref(), weights, hidden)
    };
    blocks.map(transform).collect()
}

impl Fitted {
    fn of(rungs: Vec<RungSpec>, chains: Vec<Chain>) -> Self {
        let mut fitted = Self {
            bases: Vec::new(),
            rungs: Vec::new(),
        };
        for (spec, chain) in rungs.into_iter().zip(chains) {
            fitted.bases.push(FittedBasis {
                name: spec.basis_name(),
                rank: spec.rank(),
                blocks: chain.transforms,
            });
            fitted.rungs.push(FittedRung {
                spec,
                blocks: chain.codebooks,
                prediction: chain.prediction,
            });
        }
        fitted
    }
}

/// What all rungs have in common.
struct Plan<'a> {
    seed: u64,
    meter: Meter<'a>,
}

impl Plan<'_> {
    /// Seed of one rung in one block.
    fn seed_of(&self, block: usize, rung: &RungSpec) -> u64 {
        mix(mix(self.seed, block as u64), u64::from(rung.bits))
    }
}

/// The named axes of `y`, `[rows, rank]`, as `[rows, axes]`.
fn pick(y: &[f32], rank: usize, axes: &[u16]) -> Vec<f32> {
    let rows = y.chunks_exact(rank);
    let places = |row: &[f32]| {
        let axes = axes.iter().filter_map(|&axis| row.get(usize::from(axis)));
        axes.copied().collect::<Vec<_>>()
    };
    rows.flat_map(places).collect()
}

/// A seed for one of many (the finaliser of SplitMix64, Steele, Lea and Flood, 2014).
pub(crate) fn mix(seed: u64, one: u64) -> u64 {
    let z = seed.wrapping_add((one + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
