//! A rung fitted block after block, each predicted from the previous one.
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
//! Then the axes of the block are turned to the principal ones of the residual, which is what is dealt to groups and coded.
//! Tokens count by their importance throughout. The number of axes may differ from block to block.

use astra_bundle::round_to_f16;
use nalgebra::{Cholesky, DMatrix, DMatrixView, DVector, DVectorView};

use super::groups::deal;
use super::mean::{FittedMean, add_means, means_of};
use super::rungs::BlockSpec;
use super::samples::BlockSamples;
use super::stages::{FittedCodebooks, StagesFit, mean_squares};
use super::transform::{FittedTransform, Spread, principal_axes, row_major};
use super::{FitError, Plan, RungSpec, pick};

/// Added to the covariance of the states, in units of its mean eigenvalue.
const RIDGE: f64 = 1e-3;
/// Rows whose products are summed in single precision.
const CHUNK: usize = 512;

/// Prediction of one block from the block before: `y^ = z^ w + b`.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedPrediction {
    /// `[R of the block before, R]`, row-major: rows in the coded order of the block before, columns in that of this block.
    pub w: Vec<f32>,
    /// `[R]`, in the coded order of this block.
    pub b: Vec<f32>,
}

/// One rung in all blocks.
#[derive(Default)]
pub(super) struct Chain {
    /// A transform of exactly the axes of each block.
    pub(super) transforms: Vec<FittedTransform>,
    pub(super) codebooks: Vec<FittedCodebooks>,
    /// Of each block but the first, where the rung predicts.
    pub(super) prediction: Vec<FittedPrediction>,
}

/// A linear prediction of y from the states before, and what it leaves.
pub(super) struct Regression {
    /// `[R of the block before, R]`
    pub(super) w: DMatrix<f64>,
    /// `[R]`
    pub(super) b: DVector<f64>,
    /// Covariance of `y - (z^ w + b)`, `[R, R]`.
    pub(super) residual: DMatrix<f64>,
}

impl FittedPrediction {
    /// Of `w` and `b`, rounded to what a bundle stores.
    fn of(w: &DMatrix<f64>, b: &DVector<f64>) -> Self {
        let mut prediction = Self {
            w: row_major(w),
            b: b.iter().map(|&b| b as f32).collect(),
        };
        round_to_f16(&mut prediction.w);
        round_to_f16(&mut prediction.b);
        prediction
    }

    /// What is expected of tokens with these `states`, `[rows, R]` in the coded order of the block before.
    pub(super) fn predict(&self, states: &[f32]) -> Vec<f32> {
        let rank = self.b.len();
        let before = self.w.len().checked_div(rank).unwrap_or_default();
        let rows = states.len().checked_div(before).unwrap_or_default();
        // Column-major, tokens are columns, and w read by columns is already transposed.
        let w = DMatrixView::from_slice(&self.w, rank, before);
        let mut predicted = w * DMatrixView::from_slice(states, before, rows);
        let b = DVectorView::from_slice(&self.b, rank);
        predicted.column_iter_mut().for_each(|mut y| y += b);
        predicted.data.into()
    }
}

impl Regression {
    /// Of `y`, `[rows, rank]`, on `states`, `[rows, before]`, each row counted as often as its `importance` says.
    pub(super) fn of(
        (states, before): (&[f32], usize),
        (y, rank): (&[f32], usize),
        importance: &[f32],
    ) -> Self {
        let both = before + rank;
        let total: f64 = importance.iter().map(|&w| f64::from(w)).sum();
        let total = total.max(f64::MIN_POSITIVE);
        let mut mean = DVector::<f64>::zeros(both);
        let rows = states.chunks_exact(before).zip(y.chunks_exact(rank));
        for ((state, y), &weight) in rows.zip(importance) {
            let values = state.iter().chain(y);
            mean.iter_mut()
                .zip(values)
                .for_each(|(sum, &x)| *sum += f64::from(weight) * f64::from(x));
        }
        mean /= total;
        let mut covariance = DMatrix::<f64>::zeros(both, both);
        let chunks = states.chunks(CHUNK * before).zip(y.chunks(CHUNK * rank));
        for ((states, y), importance) in chunks.zip(importance.chunks(CHUNK)) {
            let mut tokens = DMatrix::<f32>::zeros(both, importance.len());
            let rows = states.chunks_exact(before).zip(y.chunks_exact(rank));
            for ((mut token, (state, y)), &weight) in
                tokens.column_iter_mut().zip(rows).zip(importance)
            {
                let root = f64::from(weight).sqrt();
                let values = state.iter().chain(y).zip(&mean);
                token
                    .iter_mut()
                    .zip(values)
                    .for_each(|(to, (&x, mean))| *to = (root * (f64::from(x) - mean)) as f32);
            }
            let product = &tokens * tokens.transpose();
            covariance.zip_apply(&product, |sum, x| *sum += f64::from(x));
        }
        covariance /= total;
        let part = |row, column, rows, columns| {
            covariance
                .view((row, column), (rows, columns))
                .clone_owned()
        };
        let states = part(0, 0, before, before);
        let cross = part(0, before, before, rank);
        let own = part(before, before, rank, rank);
        let ridge = RIDGE * states.trace() / before as f64;
        let lifted = &states + DMatrix::identity(before, before) * ridge;
        let w = match Cholesky::new(lifted) {
            Some(lifted) => lifted.solve(&cross),
            // States that are all the same predict nothing.
            None => DMatrix::zeros(before, rank),
        };
        let explained = w.tr_mul(&cross);
        Self {
            b: mean.rows(before, rank) - w.tr_mul(&mean.rows(0, before)),
            residual: own - &explained - explained.transpose() + w.tr_mul(&(states * &w)),
            w,
        }
    }
}

impl Plan<'_> {
    /// Fits a rung, block after block. `transforms` have all axes.
    pub(super) fn fit_chain(
        &self,
        rung: &RungSpec,
        samples: &[BlockSamples],
        transforms: &[&FittedTransform],
    ) -> Result<Chain, FitError> {
        let mut chain = Chain::default();
        let mut states: Option<(Vec<f32>, usize)> = None;
        let blocks = samples.iter().zip(transforms).zip(&rung.blocks);
        for (block, ((samples, transform), spec)) in blocks.enumerate() {
            let step = Step {
                rung,
                block,
                samples,
                transform: transform.leading(spec.rank),
                seed: self.seed_of(block, rung),
            };
            let decoded = match states {
                Some((before, rank)) if rung.predicted => {
                    let (found, expected) = (samples.rows(), before.len() / rank);
                    if found != expected {
                        return Err(FitError::OtherTokens {
                            block,
                            found,
                            expected,
                        });
                    }
                    step.next((&before, rank), &mut chain)?
                }
                _ => step.code(&mut chain, None)?,
            };
            states = Some((decoded, spec.rank));
            self.meter.add(work(rung, block));
        }
        Ok(chain)
    }
}

/// Work of a block of a rung, for the progress bar: what a search costs.
pub(super) fn work(rung: &RungSpec, block: usize) -> u64 {
    let rank = rung.blocks.get(block).map_or(0, |spec| spec.rank);
    rank as u64 * rung.words() as u64
}

/// A rung in one block.
struct Step<'a> {
    rung: &'a RungSpec,
    block: usize,
    samples: &'a BlockSamples,
    transform: FittedTransform,
    seed: u64,
}

impl Step<'_> {
    /// Adds the block that follows one with these states.
    fn next(mut self, before: (&[f32], usize), chain: &mut Chain) -> Result<Vec<f32>, FitError> {
        let rank = self.transform.enc_b.len();
        let y = self.transform.encode(self.samples.inputs());
        let importance = self.samples.importance();
        let regression = Regression::of(before, (&y, rank), importance);
        let residual = match self.spec()?.frame_mean_bits {
            0 => regression.residual,
            _ => {
                let prediction = FittedPrediction::of(&regression.w, &regression.b);
                self.within_frames(y, &prediction.predict(before.0))
            }
        };
        let (variances, axes) = principal_axes(&residual);
        self.transform = self.transform.turned(&axes, variances);
        let turned = (regression.w * &axes, axes.tr_mul(&regression.b));
        self.code(chain, Some((before.0, turned)))
    }

    /// Covariance of what is left of `y`, `[rows, R]`, after prediction, within frames.
    fn within_frames(&self, mut y: Vec<f32>, predicted: &[f32]) -> DMatrix<f64> {
        let rank = self.transform.enc_b.len();
        y.iter_mut().zip(predicted).for_each(|(y, p)| *y -= p);
        let frames = self.samples.frames();
        let means = means_of(&y, rank, &frames);
        add_means(&mut y, rank, &frames, &means, -1.0);
        Spread::of(&y, self.samples.importance(), rank).covariance
    }

    fn spec(&self) -> Result<BlockSpec, FitError> {
        let spec = self.rung.blocks.get(self.block).copied();
        spec.ok_or(FitError::RungBlocks {
            bits: self.rung.bits,
            found: self.rung.blocks.len(),
            expected: self.block + 1,
        })
    }

    /// Fits the codebooks to what is not predicted, exactly as devices will compute it; returns the decoded states, in the coded
    /// order. `prediction` is from the states before to the axes of the transform.
    fn code(
        mut self,
        chain: &mut Chain,
        prediction: Option<(&[f32], Linear)>,
    ) -> Result<Vec<f32>, FitError> {
        self.transform.round();
        let spec = self.spec()?;
        let mut y = self.transform.encode(self.samples.inputs());
        let mut expected = vec![0.0; y.len()];
        let mut fitted = None;
        if let Some((before, (w, b))) = prediction {
            let prediction = FittedPrediction::of(&w, &b);
            expected = prediction.predict(before);
            y.iter_mut().zip(&expected).for_each(|(y, p)| *y -= p);
            fitted = Some((w, b));
        }
        let mean = self.subtract_means(&mut y, &mut expected, spec)?;
        let variances = mean_squares(&y, self.samples.importance(), spec.rank);
        let deal = deal(&variances, spec.groups);
        if let Some((w, b)) = fitted {
            let order: Vec<usize> = deal.perm.iter().map(|&axis| usize::from(axis)).collect();
            let (w, b) = (w.select_columns(&order), b.select_rows(&order));
            chain.prediction.push(FittedPrediction::of(&w, &b));
        }
        let coded = pick(&y, spec.rank, &deal.perm);
        let expected = pick(&expected, spec.rank, &deal.perm);
        let stages = StagesFit {
            rung: self.rung,
            spec,
            mean: mean.map(|mean| mean.select(&deal.perm)),
            deal,
            coded: &coded,
            importance: self.samples.importance(),
            seed: self.seed,
        };
        let (codebooks, mut states) = stages.fit()?;
        states.iter_mut().zip(&expected).for_each(|(z, p)| *z += p);
        chain.transforms.push(self.transform);
        chain.codebooks.push(codebooks);
        Ok(states)
    }

    /// Moves what receivers read of the mean of each frame from `y` to what is `expected`, [rows, R] both, if frames have one.
    fn subtract_means(
        &self,
        y: &mut [f32],
        expected: &mut [f32],
        spec: BlockSpec,
    ) -> Result<Option<FittedMean>, FitError> {
        if spec.frame_mean_bits == 0 {
            return Ok(None);
        }
        let frames = self.samples.frames();
        let mut means = means_of(y, spec.rank, &frames);
        let mean = FittedMean::fit(&means, spec.rank, spec.frame_mean_bits);
        mean.through(&mut means)?;
        add_means(y, spec.rank, &frames, &means, -1.0);
        add_means(expected, spec.rank, &frames, &means, 1.0);
        Ok(Some(mean))
    }
}

/// `w` and `b` of a prediction, in the order of the axes.
type Linear = (DMatrix<f64>, DVector<f64>);
