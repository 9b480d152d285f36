//! Codebooks of one block: a first stage for all tokens, and a second for the few that the first serves worst.
//!
//! Errors of a block's tokens are not spread evenly: a few percent of the tokens are far outside what the codebooks know and carry
//! most of the harm. The first stage is fitted to the others alone (trimmed k-means: Cuesta-Albertos, Gordaliza and Matran, 1997),
//! so that no word is spent on a token that the second stage serves; the second is fitted to what the first leaves of those few.
//! As the first was not fitted to them, that is like what it leaves of such tokens in other inputs.

use astra_codec::{Codebook, half_norms, word_major};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;

use super::contiguous::contiguous;
use super::groups::Deal;
use super::kmeans::Clustering;
use super::mean::FittedMean;
use super::rungs::{BlockSpec, Refinement, RungSpec};
use super::{FitError, mix, pick};
use astra_bundle::round_to_f16;

/// Rounds of k-means before the tokens of the second stage are chosen, and after.
const ROUNDS: [usize; 2] = [4, 5];
/// Rounds of k-means of the second stage.
const REFINED_ROUNDS: usize = 8;
/// Tokens that the refined ones are chosen among, as many as a frame holds at middling rates.
pub(super) const FRAME: usize = 64;

/// Codebooks of one rung in one block.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedCodebooks {
    /// Axis of the basis at each place of the coded vector, `[R]`.
    pub perm: Vec<u16>,
    /// First stage.
    pub first: FittedStage,
    /// Second stage, if there is one.
    pub second: Option<FittedStage>,
    /// What codes the mean of a frame, if it has one.
    pub mean: Option<FittedMean>,
}

/// Codebooks of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedStage {
    /// Places of each group, `[G]`; the groups lie one after another in the coded vector.
    pub dims: Vec<u16>,
    /// Words, dimension-major `[dims[g], K]` a group, the groups one after another; values that float16 holds.
    pub words: Vec<f32>,
}

/// What to fit in a block.
pub(super) struct StagesFit<'a> {
    pub(super) rung: &'a RungSpec,
    pub(super) spec: BlockSpec,
    pub(super) deal: Deal,
    /// What codes the mean of a frame, which is not in `coded`.
    pub(super) mean: Option<FittedMean>,
    /// What is coded, `[rows, R]` in the coded order.
    pub(super) coded: &'a [f32],
    /// Importance of each row.
    pub(super) importance: &'a [f32],
    pub(super) seed: u64,
}

impl StagesFit<'_> {
    /// The codebooks, and what receivers decode of `coded`.
    pub(super) fn fit(self) -> Result<(FittedCodebooks, Vec<f32>), FitError> {
        let (rank, words) = (self.spec.rank, self.rung.words());
        let mut stage = self.first(ROUNDS[0])?;
        let Some(refinement) = self.rung.refinement else {
            let stage = self.continue_first(stage, self.importance, ROUNDS[1])?;
            let decoded = through(&stage, words, self.coded)?;
            return Ok((self.codebooks(stage, None), decoded));
        };
        let decoded = through(&stage, words, self.coded)?;
        let refined = refined_rows(self.coded, &decoded, rank, refinement);
        let mut others = self.importance.to_vec();
        for &row in &refined {
            if let Some(weight) = others.get_mut(row) {
                *weight = 0.0;
            }
        }
        stage = self.continue_first(stage, &others, ROUNDS[1])?;
        let mut decoded = through(&stage, words, self.coded)?;
        let refined = refined_rows(self.coded, &decoded, rank, refinement);
        let left = residuals(self.coded, &decoded, rank, &refined);
        let importance: Vec<f32> = refined
            .iter()
            .filter_map(|&row| self.importance.get(row).copied())
            .collect();
        let second = self.second(refinement, &left, &importance)?;
        let added = through(&second, refinement.words(), &left)?;
        for (&row, added) in refined.iter().zip(added.chunks_exact(rank)) {
            let row = decoded.get_mut(row * rank..(row + 1) * rank);
            for (x, added) in row.into_iter().flatten().zip(added) {
                *x += added;
            }
        }
        Ok((self.codebooks(stage, Some(second)), decoded))
    }

    fn codebooks(&self, first: FittedStage, second: Option<FittedStage>) -> FittedCodebooks {
        FittedCodebooks {
            perm: self.deal.perm.clone(),
            first,
            second,
            mean: self.mean.clone(),
        }
    }

    fn first(&self, rounds: usize) -> Result<FittedStage, FitError> {
        let places = places(&self.deal.dims);
        let words = places.par_iter().enumerate().map(|(group, places)| {
            let clustering = Clustering {
                dim: places.len(),
                words: self.rung.words(),
                rounds,
            };
            let points = pick(self.coded, self.spec.rank, places);
            clustering.fit(&points, self.importance, &mut self.rng(group))
        });
        let words: Vec<_> = words.collect::<Result<_, FitError>>()?;
        Ok(FittedStage {
            dims: self.deal.dims.clone(),
            words: words.concat(),
        })
    }

    /// The same stage after more rounds, each row counted as often as `importance` says.
    fn continue_first(
        &self,
        stage: FittedStage,
        importance: &[f32],
        rounds: usize,
    ) -> Result<FittedStage, FitError> {
        let count = self.rung.words();
        let mut rest = stage.words.as_slice();
        let tables = stage.dims.iter().map(|&dim| {
            let (table, others) = rest
                .split_at_checked(usize::from(dim) * count)
                .unwrap_or_default();
            rest = others;
            table
        });
        let tables: Vec<&[f32]> = tables.collect();
        let places = places(&stage.dims);
        let groups = places.par_iter().zip(tables).enumerate();
        let words = groups.map(|(group, (places, table))| {
            let clustering = Clustering {
                dim: places.len(),
                words: count,
                rounds,
            };
            let points = pick(self.coded, self.spec.rank, places);
            let mut words =
                clustering.resume(table, &points, importance, &mut self.rng(group + (1 << 20)))?;
            round_to_f16(&mut words);
            Ok(words)
        });
        let words: Vec<_> = words.collect::<Result<_, FitError>>()?;
        Ok(FittedStage {
            words: words.concat(),
            ..stage
        })
    }

    /// The second stage, of what the first leaves of some rows, `[rows, R]`.
    fn second(
        &self,
        refinement: Refinement,
        left: &[f32],
        importance: &[f32],
    ) -> Result<FittedStage, FitError> {
        let variances = mean_squares(left, importance, self.spec.rank);
        let dims = contiguous(
            &variances,
            self.spec.refined_groups,
            f64::from(refinement.code_bits),
        );
        let places = places(&dims);
        let words = places.par_iter().enumerate().map(|(group, places)| {
            let clustering = Clustering {
                dim: places.len(),
                words: refinement.words(),
                rounds: REFINED_ROUNDS,
            };
            let points = pick(left, self.spec.rank, places);
            let mut words =
                clustering.fit(&points, importance, &mut self.rng(group + (1 << 21)))?;
            round_to_f16(&mut words);
            Ok(words)
        });
        let words: Vec<_> = words.collect::<Result<_, FitError>>()?;
        Ok(FittedStage {
            dims,
            words: words.concat(),
        })
    }

    fn rng(&self, group: usize) -> StdRng {
        StdRng::seed_from_u64(mix(self.seed, group as u64))
    }
}

/// Places of each group.
fn places(dims: &[u16]) -> Vec<Vec<u16>> {
    let groups = dims.iter().scan(0, |next, &dim| {
        let first = *next;
        *next += dim;
        Some((first..*next).collect())
    });
    groups.collect()
}

/// Rows whose squared residual is among the largest of each [`FRAME`] rows, ascending.
fn refined_rows(coded: &[f32], decoded: &[f32], rank: usize, refinement: Refinement) -> Vec<usize> {
    let rows = coded.chunks_exact(rank).zip(decoded.chunks_exact(rank));
    let errors = rows.map(|(y, z)| {
        let squares = y.iter().zip(z).map(|(y, z)| (y - z) * (y - z));
        squares.sum::<f32>()
    });
    let errors: Vec<f32> = errors.collect();
    let mut refined = Vec::new();
    for (frame, errors) in errors.chunks(FRAME).enumerate() {
        let mut order: Vec<usize> = (0..errors.len()).collect();
        let error = |&i: &usize| errors.get(i).copied().unwrap_or_default();
        order.sort_by(|a, b| error(b).total_cmp(&error(a)));
        // A codebook is fitted to one row at least, however few there are.
        order.truncate(refinement.tokens(errors.len()).max(1));
        order.sort_unstable();
        refined.extend(order.into_iter().map(|i| frame * FRAME + i));
    }
    refined
}

/// What is left of some rows, `[rows, R]`.
fn residuals(coded: &[f32], decoded: &[f32], rank: usize, rows: &[usize]) -> Vec<f32> {
    let row = |&row: &usize| {
        let range = row * rank..(row + 1) * rank;
        let pair = coded.get(range.clone()).zip(decoded.get(range));
        let (y, z) = pair.unwrap_or_default();
        y.iter().zip(z).map(|(y, z)| y - z)
    };
    rows.iter().flat_map(row).collect()
}

/// Weighted mean square of each column of `[rows, rank]`.
pub(super) fn mean_squares(values: &[f32], importance: &[f32], rank: usize) -> Vec<f64> {
    let mut sums = vec![0.0; rank];
    let mut total = 0.0;
    for (row, &weight) in values.chunks_exact(rank).zip(importance) {
        let weight = f64::from(weight);
        total += weight;
        for (sum, &x) in sums.iter_mut().zip(row) {
            *sum += weight * f64::from(x) * f64::from(x);
        }
    }
    let total = f64::max(total, f64::MIN_POSITIVE);
    sums.iter().map(|sum| sum / total).collect()
}

/// What receivers decode of `values`, `[rows, R]` in the coded order, by one stage.
fn through(stage: &FittedStage, words: usize, values: &[f32]) -> Result<Vec<f32>, FitError> {
    let FittedStage { dims, words: table } = stage;
    let mut turned = vec![0.0; table.len()];
    let mut norms = vec![0.0; dims.len() * words];
    word_major(dims, words, table, &mut turned)?;
    half_norms(dims, words, table, &mut norms)?;
    let codebook = Codebook::new(dims, words, table, &turned, &norms)?;
    let mut codes = vec![0; values.len() / codebook.rank() * codebook.groups()];
    codebook.encode(values, &mut codes)?;
    let mut decoded = vec![0.0; values.len()];
    codebook.decode(&codes, &mut decoded)?;
    Ok(decoded)
}
