//! The codec fitted to a model: from sampled tokens to transforms and codebooks.
//!
//! - `samples`: what calibration keeps of a block, and how much each token matters
//! - `metric`: how much an error in each direction matters to attention
//! - `transform`: the axes to code, and the way from those to keys and values
//! - `groups`: axes dealt to groups
//! - `kmeans`: the words of one group
//! - `rungs`: the settings that a bundle carries
//!
//! A fit depends on samples, weights, rungs and seed alone, not on how many threads do it: every group draws from a generator of
//! its own.

mod error;
mod groups;
mod kmeans;
mod metric;
mod rungs;
mod samples;
mod transform;

#[cfg(test)]
mod tests;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;

pub use error::FitError;
pub use rungs::{BasisKind, RungSpec};
pub use samples::{AttentionShape, BlockSamples, BlockWeights, RowsError};
pub use transform::FittedTransform;

use crate::progress::{Meter, Progress};
use groups::{Deal, deal};
use kmeans::Clustering;
use transform::{Spread, fit_transform};

/// Rounds of k-means at most: more no longer show in the answer.
const ROUNDS: usize = 8;

/// Everything the codec needs, for all blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Bases that rungs refer to by kind.
    pub bases: Vec<FittedBasis>,
    /// Rungs in the order asked for.
    pub rungs: Vec<FittedRung>,
}

/// A basis.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedBasis {
    /// What its axes keep.
    pub kind: BasisKind,
    /// Axes: as many as the largest rung that uses it.
    pub rank: usize,
    /// A transform a block.
    pub blocks: Vec<FittedTransform>,
}

/// A rung.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedRung {
    /// What was asked for.
    pub spec: RungSpec,
    /// Codebooks of each block.
    pub blocks: Vec<FittedCodebooks>,
}

/// Codebooks of one rung in one block.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedCodebooks {
    /// Axis of the basis at each place of the coded vector, `[R]`.
    pub perm: Vec<u16>,
    /// Places of each group, `[G]`; the groups lie one after another.
    pub dims: Vec<u16>,
    /// Words, dimension-major `[dims[g], K]` a group, the groups one after another.
    pub words: Vec<f32>,
}

/// Each basis's transform in one block, with the codebooks of the rungs that use it and their places in the list of rungs.
type FittedBlock = Vec<(FittedTransform, Vec<(usize, FittedCodebooks)>)>;

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
    for (block, (samples, weights)) in samples.iter().zip(weights).enumerate() {
        samples::check(block, samples, weights)?;
        rungs
            .iter()
            .try_for_each(|rung| rung.check(weights.shape.hidden))?;
    }
    let work: u64 = rungs.iter().map(|r| work(r.rank, r.words())).sum();
    let meter = Meter::new(samples.len() as u64 * work, progress);
    let bases = bases_of(rungs);
    let plan = Plan {
        rungs,
        bases: &bases,
        seed,
        meter,
    };
    let blocks: Vec<_> = (samples, weights)
        .into_par_iter()
        .enumerate()
        .map(|(block, (samples, weights))| plan.fit_block(block, samples, weights))
        .collect::<Result<_, _>>()?;
    Ok(by_basis_and_rung(&bases, rungs, blocks))
}

/// Bases in use, each with the axes of the largest rung that uses it.
fn bases_of(rungs: &[RungSpec]) -> Vec<(BasisKind, usize)> {
    let mut ranks = std::collections::BTreeMap::new();
    for rung in rungs {
        let rank = ranks.entry(rung.basis).or_default();
        *rank = rung.rank.max(*rank);
    }
    ranks.into_iter().collect()
}

/// Blocks of bases and rungs become bases and rungs of blocks.
fn by_basis_and_rung(
    bases: &[(BasisKind, usize)],
    rungs: &[RungSpec],
    blocks: Vec<FittedBlock>,
) -> Fitted {
    let basis = |&(kind, rank): &_| FittedBasis {
        kind,
        rank,
        blocks: Vec::new(),
    };
    let rung = |&spec: &_| FittedRung {
        spec,
        blocks: Vec::new(),
    };
    let mut fitted = Fitted {
        bases: bases.iter().map(basis).collect(),
        rungs: rungs.iter().map(rung).collect(),
    };
    for block in blocks {
        for (basis, (transform, codebooks)) in fitted.bases.iter_mut().zip(block) {
            basis.blocks.push(transform);
            for (place, codebooks) in codebooks {
                if let Some(rung) = fitted.rungs.get_mut(place) {
                    rung.blocks.push(codebooks);
                }
            }
        }
    }
    fitted
}

/// What all blocks have in common.
struct Plan<'a> {
    rungs: &'a [RungSpec],
    bases: &'a [(BasisKind, usize)],
    seed: u64,
    meter: Meter<'a>,
}

impl Plan<'_> {
    fn fit_block(
        &self,
        block: usize,
        samples: &BlockSamples,
        weights: &BlockWeights<'_>,
    ) -> Result<FittedBlock, FitError> {
        let spread = Spread::of(samples.inputs(), samples.importance(), weights.shape.hidden);
        let metric = metric::attention_metric(samples, weights);
        let seed = mix(self.seed, block as u64);
        let bases = self.bases.par_iter().map(|&(kind, rank)| {
            let metric = match kind {
                BasisKind::Plain => None,
                BasisKind::Attention => Some(&metric),
            };
            let transform = fit_transform(&spread, metric, weights, rank);
            let y = transform.encode(samples.inputs());
            let rungs = self.rungs.par_iter().enumerate();
            let rungs = rungs.filter(|(_, rung)| rung.basis == kind);
            let codebooks = rungs.map(|(place, rung)| {
                let seed = mix(seed, place as u64);
                let codebooks =
                    self.fit_codebooks(rung, &transform, &y, samples.importance(), seed)?;
                Ok((place, codebooks))
            });
            let codebooks = codebooks.collect::<Result<_, FitError>>()?;
            Ok((transform, codebooks))
        });
        bases.collect()
    }

    fn fit_codebooks(
        &self,
        rung: &RungSpec,
        transform: &FittedTransform,
        y: &[f32],
        importance: &[f32],
        seed: u64,
    ) -> Result<FittedCodebooks, FitError> {
        let variances = transform.variances.get(..rung.rank).unwrap_or_default();
        let Deal { perm, dims } = deal(variances, rung.groups);
        let mut axes = perm.as_slice();
        let hands = dims.iter().filter_map(|&dim| {
            let (hand, rest) = axes.split_at_checked(usize::from(dim))?;
            axes = rest;
            Some(hand)
        });
        let hands: Vec<&[u16]> = hands.collect();
        let words = hands.par_iter().enumerate().map(|(group, hand)| {
            let clustering = Clustering {
                dim: hand.len(),
                words: rung.words(),
                rounds: ROUNDS,
            };
            let points = pick(y, transform.enc_b.len(), hand);
            let mut rng = StdRng::seed_from_u64(mix(seed, group as u64));
            let words = clustering.fit(&points, importance, &mut rng)?;
            self.meter.add(work(hand.len(), rung.words()));
            Ok(words)
        });
        let words: Vec<_> = words.collect::<Result<_, FitError>>()?;
        Ok(FittedCodebooks {
            perm,
            dims,
            words: words.concat(),
        })
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

/// Work of a group, for the progress bar: what a search costs.
fn work(axes: usize, words: usize) -> u64 {
    axes as u64 * words as u64
}

/// A seed for one of many (the finaliser of SplitMix64, Steele, Lea and Flood, 2014).
fn mix(seed: u64, one: u64) -> u64 {
    let z = seed.wrapping_add((one + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
