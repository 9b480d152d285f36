//! The codec fitted to a model: from sampled tokens to transforms and codebooks.
//!
//! - `samples`: what calibration keeps of a block, and how much each token matters
//! - `metric`: how much an error in each direction matters to attention
//! - `transform`: the axes to code, and the way from those to keys and values
//! - `groups`: axes dealt to groups
//! - `kmeans`: the words of one group
//! - `predicted`: what is left to code where the block before predicts a block
//! - `rungs`: the settings that a bundle carries
//!
//! A fit depends on samples, weights, rungs and seed alone, not on how many threads do it: every group draws from a generator of
//! its own.

mod error;
mod groups;
mod kmeans;
mod metric;
mod predicted;
mod rungs;
mod samples;
mod transform;

#[cfg(test)]
mod tests;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;

pub use error::FitError;
pub use predicted::FittedPrediction;
pub use rungs::{BasisKind, RungSpec};
pub use samples::{AttentionShape, BlockSamples, BlockWeights, RowsError};
pub use transform::FittedTransform;

use crate::progress::{Meter, Progress};
use groups::{Deal, deal};
use kmeans::Clustering;
use predicted::Chain;
use transform::{Spread, fit_transform};

/// Rounds of k-means at most: more no longer show in the answer.
const ROUNDS: usize = 8;

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

/// Each space's transform in one block, with the codebooks of the rungs that share its axes and their places in the list of rungs.
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
    let predicts = |rung: &RungSpec| rung.predicted && samples.len() > 1;
    let rungs = rungs.iter().map(|rung| RungSpec {
        predicted: predicts(rung),
        ..*rung
    });
    let rungs: Vec<RungSpec> = rungs.collect();
    let work: u64 = rungs.iter().map(|r| work(r.rank, r.words())).sum();
    let plan = Plan {
        rungs: &rungs,
        spaces: &spaces_of(&rungs),
        seed,
        meter: Meter::new(samples.len() as u64 * work, progress),
    };
    let blocks: Vec<_> = (samples, weights)
        .into_par_iter()
        .enumerate()
        .map(|(block, (samples, weights))| plan.fit_block(block, samples, weights))
        .collect::<Result<_, _>>()?;
    let chains = plan.fit_chains(samples, &blocks)?;
    Ok(by_basis_and_rung(&plan, &blocks, chains))
}

/// What a kind of basis can be made of.
struct Space {
    kind: BasisKind,
    /// Axes fitted: as many as the largest rung of the kind codes.
    rank: usize,
    /// Axes of the largest rung that codes along these very axes; those that predict turn them.
    shared: Option<usize>,
}

/// Spaces in use.
fn spaces_of(rungs: &[RungSpec]) -> Vec<Space> {
    let mut spaces = std::collections::BTreeMap::new();
    for rung in rungs {
        let (rank, shared): &mut (usize, Option<usize>) = spaces.entry(rung.basis).or_default();
        *rank = rung.rank.max(*rank);
        if !rung.predicted {
            *shared = Some(rung.rank).max(*shared);
        }
    }
    let space = |(kind, (rank, shared))| Space { kind, rank, shared };
    spaces.into_iter().map(space).collect()
}

/// Blocks of bases and rungs become bases and rungs of blocks.
fn by_basis_and_rung(plan: &Plan<'_>, blocks: &[FittedBlock], chains: Vec<Chain>) -> Fitted {
    let rung = |&spec: &_| FittedRung {
        spec,
        blocks: Vec::new(),
        prediction: Vec::new(),
    };
    let mut fitted = Fitted {
        bases: Vec::new(),
        rungs: plan.rungs.iter().map(rung).collect(),
    };
    for (place, space) in plan.spaces.iter().enumerate() {
        let Some(rank) = space.shared else { continue };
        let transforms = transforms_of(blocks, place);
        fitted.bases.push(FittedBasis {
            name: space.kind.name().to_owned(),
            rank,
            blocks: transforms.map(|t| t.leading(rank)).collect(),
        });
    }
    for (place, codebooks) in blocks.iter().flatten().flat_map(|(_, books)| books) {
        if let Some(rung) = fitted.rungs.get_mut(*place) {
            rung.blocks.push(codebooks.clone());
        }
    }
    let predicting = fitted.rungs.iter_mut().filter(|rung| rung.spec.predicted);
    for (rung, chain) in predicting.zip(chains) {
        fitted.bases.push(FittedBasis {
            name: rung.spec.basis_name(),
            rank: rung.spec.rank,
            blocks: chain.transforms,
        });
        rung.blocks = chain.codebooks;
        rung.prediction = chain.prediction;
    }
    fitted
}

/// The transforms of one space, block by block.
fn transforms_of(blocks: &[FittedBlock], space: usize) -> impl Iterator<Item = &FittedTransform> {
    let of_space = blocks.iter().filter_map(move |block| block.get(space));
    of_space.map(|(transform, _)| transform)
}

/// What all blocks have in common.
struct Plan<'a> {
    rungs: &'a [RungSpec],
    spaces: &'a [Space],
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
        let spaces = self.spaces.par_iter().map(|space| {
            let metric = match space.kind {
                BasisKind::Plain => None,
                BasisKind::Attention => Some(&metric),
            };
            let transform = fit_transform(&spread, metric, weights, space.rank);
            let y = transform.encode(samples.inputs());
            let rungs = self.rungs.par_iter().enumerate();
            let rungs = rungs.filter(|(_, rung)| rung.basis == space.kind && !rung.predicted);
            let codebooks = rungs.map(|(place, rung)| {
                let variances = transform.variances.get(..rung.rank).unwrap_or_default();
                let deal = deal(variances, rung.groups);
                let coded = pick(&y, space.rank, &deal.perm);
                let seed = self.seed_of(block, place);
                let codebooks = self.fit_words(rung, deal, &coded, samples.importance(), seed)?;
                Ok((place, codebooks))
            });
            let codebooks = codebooks.collect::<Result<_, FitError>>()?;
            Ok((transform, codebooks))
        });
        spaces.collect()
    }

    /// The rungs that predict, in their order.
    fn fit_chains(
        &self,
        samples: &[BlockSamples],
        blocks: &[FittedBlock],
    ) -> Result<Vec<Chain>, FitError> {
        let rungs = self.rungs.par_iter().enumerate();
        let predicting = rungs.filter(|(_, rung)| rung.predicted);
        let chains = predicting.map(|(place, rung)| {
            let space = self.spaces.iter().position(|s| s.kind == rung.basis);
            let transforms = transforms_of(blocks, space.unwrap_or_default());
            let transforms: Vec<_> = transforms.map(|t| t.leading(rung.rank)).collect();
            self.fit_chain(place, rung, samples, &transforms)
        });
        chains.collect()
    }

    /// Seed of one rung in one block.
    fn seed_of(&self, block: usize, rung: usize) -> u64 {
        mix(mix(self.seed, block as u64), rung as u64)
    }

    /// The words of every group. `coded` holds what they stand for, `[rows, R]` in the order of the deal.
    fn fit_words(
        &self,
        rung: &RungSpec,
        Deal { perm, dims }: Deal,
        coded: &[f32],
        importance: &[f32],
        seed: u64,
    ) -> Result<FittedCodebooks, FitError> {
        let hands = dims.iter().scan(0, |next, &dim| {
            let first = *next;
            *next += dim;
            Some((first..*next).collect::<Vec<u16>>())
        });
        let hands: Vec<_> = hands.collect();
        let words = hands.par_iter().enumerate().map(|(group, hand)| {
            let clustering = Clustering {
                dim: hand.len(),
                words: rung.words(),
                rounds: ROUNDS,
            };
            let points = pick(coded, perm.len(), hand);
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
