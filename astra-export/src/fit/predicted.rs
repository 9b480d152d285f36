//! What is left to code of a block where the block before predicts it.
//!
//! Sender and receivers keep the decoded state z^ of every token. With y the token in the codec's space of the block,
//!
//! ```text
//! block 0:   z^_0 = decoded(y_0)
//! block b:   y^_b = z^_(b-1) w_b + c_b
//!            z^_b = y^_b + decoded(y_b - y^_b)
//! ```
//!
//! This is differential coding in a closed loop (Cutler, 1952; Jayant and Noll, Digital Coding of Waveforms, 1984): what is
//! predicted from is what the receivers have, so an error is not passed on but coded with the rest in the next block. w_b and c_b
//! are the ridge regression of y_b on the decoded states of the same tokens, which is why blocks are fitted one after another.
//! Then the axes of the block are turned to the principal ones of the difference, which is what is dealt to groups and coded.
//! Tokens count by their importance throughout.

use astra_codec::{Codebook, half_norms, word_major};
use nalgebra::{Cholesky, DMatrix, DMatrixView, DVector, DVectorView};

use super::groups::deal;
use super::samples::BlockSamples;
use super::transform::{FittedTransform, Spread, principal_axes, row_major};
use super::{FitError, FittedCodebooks, Plan, RungSpec, pick};

/// Added to the covariance of the states, in units of its mean eigenvalue.
const RIDGE: f64 = 1e-3;

/// Prediction of one block from the block before: `y^ = z^ w + b`.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedPrediction {
    /// `[R, R]`, row-major: rows in the coded order of the block before, columns in that of this block.
    pub w: Vec<f32>,
    /// `[R]`, in the coded order of this block.
    pub b: Vec<f32>,
}

/// One rung in all blocks.
pub(super) struct Chain {
    /// A basis of its own, of exactly its axes.
    pub(super) transforms: Vec<FittedTransform>,
    pub(super) codebooks: Vec<FittedCodebooks>,
    /// Of each block but the first.
    pub(super) prediction: Vec<FittedPrediction>,
}

/// A linear prediction of y from the states before, and what it leaves.
pub(super) struct Regression {
    /// `[R, R]`
    pub(super) w: DMatrix<f64>,
    /// `[R]`
    pub(super) b: DVector<f64>,
    /// Covariance of `y - (z^ w + b)`, `[R, R]`.
    pub(super) residual: DMatrix<f64>,
}

impl FittedPrediction {
    /// What is expected of tokens with these `states`, `[rows, R]` in the coded order of the block before.
    pub(super) fn predict(&self, states: &[f32]) -> Vec<f32> {
        let rank = self.b.len();
        let rows = states.len().checked_div(rank).unwrap_or_default();
        // Column-major, tokens are columns, and w read by columns is already transposed.
        let w = DMatrixView::from_slice(&self.w, rank, rank);
        let mut predicted = w * DMatrixView::from_slice(states, rank, rows);
        let b = DVectorView::from_slice(&self.b, rank);
        predicted.column_iter_mut().for_each(|mut y| y += b);
        predicted.data.into()
    }
}

impl Regression {
    /// Of `y` on `states`, both `[rows, rank]`, each row counted as often as its `importance` says.
    pub(super) fn of(states: &[f32], y: &[f32], importance: &[f32], rank: usize) -> Self {
        let rows = states.chunks_exact(rank).zip(y.chunks_exact(rank));
        let both: Vec<f32> = rows.flat_map(|(state, y)| [state, y].concat()).collect();
        let Spread { mean, covariance } = Spread::of(&both, importance, 2 * rank);
        let part = |row, column| covariance.view((row, column), (rank, rank)).clone_owned();
        let (states, cross, own) = (part(0, 0), part(0, rank), part(rank, rank));
        let ridge = RIDGE * states.trace() / rank as f64;
        let lifted = &states + DMatrix::identity(rank, rank) * ridge;
        let w = match Cholesky::new(lifted) {
            Some(lifted) => lifted.solve(&cross),
            // States that are all the same predict nothing.
            None => DMatrix::zeros(rank, rank),
        };
        let explained = w.tr_mul(&cross);
        Self {
            b: mean.rows(rank, rank) - w.tr_mul(&mean.rows(0, rank)),
            residual: own - &explained - explained.transpose() + w.tr_mul(&(states * &w)),
            w,
        }
    }
}

impl Plan<'_> {
    /// Fits a rung that predicts, block after block. `place` is that of the rung, `transforms` have its axes.
    pub(super) fn fit_chain(
        &self,
        place: usize,
        rung: &RungSpec,
        samples: &[BlockSamples],
        transforms: &[FittedTransform],
    ) -> Result<Chain, FitError> {
        let mut chain = Chain {
            transforms: Vec::new(),
            codebooks: Vec::new(),
            prediction: Vec::new(),
        };
        let mut states: Option<Vec<f32>> = None;
        for (block, (samples, transform)) in samples.iter().zip(transforms).enumerate() {
            let step = Step {
                plan: self,
                rung,
                samples,
                transform,
                seed: self.seed_of(block, place),
            };
            states = Some(match states {
                None => step.first(&mut chain)?,
                Some(before) => {
                    let (found, expected) = (samples.rows(), before.len() / rung.rank);
                    if found != expected {
                        return Err(FitError::OtherTokens {
                            block,
                            found,
                            expected,
                        });
                    }
                    step.next(&before, &mut chain)?
                }
            });
        }
        Ok(chain)
    }
}

/// A rung in one block.
struct Step<'a> {
    plan: &'a Plan<'a>,
    rung: &'a RungSpec,
    samples: &'a BlockSamples,
    transform: &'a FittedTransform,
    seed: u64,
}

impl Step<'_> {
    /// Adds the first block to the chain, which nothing predicts; the decoded states, in its coded order.
    fn first(&self, chain: &mut Chain) -> Result<Vec<f32>, FitError> {
        self.code(self.transform.clone(), None, chain)
    }

    /// Adds the block that follows one with these states.
    fn next(&self, before: &[f32], chain: &mut Chain) -> Result<Vec<f32>, FitError> {
        let y = self.transform.encode(self.samples.inputs());
        let regression = Regression::of(before, &y, self.samples.importance(), self.rung.rank);
        let (variances, axes) = principal_axes(&regression.residual);
        let transform = self.transform.turned(&axes, variances);
        let turned = (regression.w * &axes, axes.tr_mul(&regression.b));
        self.code(transform, Some((before, turned)), chain)
    }

    /// Fits the words of what is not predicted, exactly as devices will compute it. `prediction` is from the states before to the
    /// axes of `transform`.
    fn code(
        &self,
        transform: FittedTransform,
        prediction: Option<(&[f32], Linear)>,
        chain: &mut Chain,
    ) -> Result<Vec<f32>, FitError> {
        let deal = deal(&transform.variances, self.rung.groups);
        let mut left = pick(
            &transform.encode(self.samples.inputs()),
            self.rung.rank,
            &deal.perm,
        );
        let mut predicted = vec![0.0; left.len()];
        if let Some((before, (w, b))) = prediction {
            let order: Vec<usize> = deal.perm.iter().map(|&axis| usize::from(axis)).collect();
            let prediction = FittedPrediction {
                w: row_major(&w.select_columns(&order)),
                b: b.select_rows(&order).iter().map(|&b| b as f32).collect(),
            };
            predicted = prediction.predict(before);
            left.iter_mut().zip(&predicted).for_each(|(y, p)| *y -= p);
            chain.prediction.push(prediction);
        }
        let importance = self.samples.importance();
        let codebooks = self
            .plan
            .fit_words(self.rung, deal, &left, importance, self.seed)?;
        let mut states = through_codes(&codebooks, self.rung.words(), &left)?;
        states.iter_mut().zip(&predicted).for_each(|(z, p)| *z += p);
        chain.transforms.push(transform);
        chain.codebooks.push(codebooks);
        Ok(states)
    }
}

/// `w` and `b` of a prediction, in the order of the axes.
type Linear = (DMatrix<f64>, DVector<f64>);

/// What receivers decode of `values`, `[rows, R]` in the coded order.
fn through_codes(
    FittedCodebooks {
        dims, words: table, ..
    }: &FittedCodebooks,
    words: usize,
    values: &[f32],
) -> Result<Vec<f32>, FitError> {
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
