//! Noise of the distribution of what codes leave, added in training to what receivers decode: Noise-Augmented Vector
//! Quantization (ASTRA, arXiv 2505.19342). Mean and covariance are measured, block by block.

use candle_core::{Device, Tensor};
use nalgebra::{Cholesky, DMatrix, DMatrixView, DVector};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::codec::Noise;
use crate::fit::mix;

/// Weight of a new measurement.
const SHARE: f64 = 0.2;
/// Added to the covariance, in units of its mean eigenvalue.
const RIDGE: f64 = 1e-4;

/// Residuals of a rung so far.
#[derive(Debug)]
pub(super) struct Residuals {
    lambda: f64,
    blocks: Vec<Moments>,
}

#[derive(Debug)]
struct Moments {
    mean: DVector<f64>,
    covariance: DMatrix<f64>,
}

impl Residuals {
    /// For noise of `lambda` times the size of the residuals; 0 for none.
    pub(super) fn new(lambda: f64) -> Self {
        Self {
            lambda,
            blocks: Vec::new(),
        }
    }

    pub(super) fn are_used(&self) -> bool {
        self.lambda > 0.0
    }

    /// Takes in the residuals of an input, `[T, R]` of each block.
    pub(super) fn measure(&mut self, residuals: &[Tensor]) -> candle_core::Result<()> {
        for (block, residual) in residuals.iter().enumerate() {
            let found = Moments::of(residual)?;
            match self.blocks.get_mut(block) {
                Some(moments) => moments.blend(&found),
                None => self.blocks.push(found),
            }
        }
        Ok(())
    }

    /// Noise for `tokens` tokens in every block; none before anything was measured.
    pub(super) fn draw(&self, tokens: usize, seed: u64) -> candle_core::Result<Vec<Noise>> {
        let blocks = self.blocks.iter().zip(0..);
        let draw = |(moments, block): (&Moments, u64)| {
            let rank = moments.mean.len();
            let mut rng = StdRng::seed_from_u64(mix(seed, block));
            let white = (0..tokens * rank).map(|_| normal(&mut rng));
            let root = moments.root();
            let mean = moments.mean.iter().map(|&x| x as f32);
            Ok(Noise {
                white: Tensor::from_vec(white.collect(), (tokens, rank), &Device::Cpu)?,
                // Columns of the root are rows of its transpose.
                root: Tensor::from_vec(root, (rank, rank), &Device::Cpu)?,
                mean: Tensor::from_vec(mean.collect(), (1, rank), &Device::Cpu)?,
                lambda: self.lambda,
            })
        };
        blocks.map(draw).collect()
    }
}

impl Moments {
    fn of(residual: &Tensor) -> candle_core::Result<Self> {
        let (tokens, rank) = residual.dims2()?;
        let values: Vec<f32> = residual.flatten_all()?.to_vec1()?;
        // Column-major: tokens are columns.
        let rows = DMatrixView::from_slice(&values, rank, tokens).map(f64::from);
        let mean = rows.column_mean();
        let mut centred = rows;
        centred.column_iter_mut().for_each(|mut row| row -= &mean);
        let covariance = &centred * centred.transpose() / tokens.max(1) as f64;
        Ok(Self { mean, covariance })
    }

    fn blend(&mut self, found: &Self) {
        self.mean += (&found.mean - &self.mean) * SHARE;
        self.covariance += (&found.covariance - &self.covariance) * SHARE;
    }

    /// The lower triangular root of the covariance, column by column.
    fn root(&self) -> Vec<f32> {
        let rank = self.mean.len();
        let ridge = RIDGE * self.covariance.trace() / rank.max(1) as f64 + f64::MIN_POSITIVE;
        let lifted = &self.covariance + DMatrix::identity(rank, rank) * ridge;
        // What is no covariance, of values that are no numbers, has no root; the loss says so.
        let root = Cholesky::new(lifted).map(|root| root.unpack());
        let root = root.unwrap_or_else(|| DMatrix::zeros(rank, rank));
        root.iter().map(|&x| x as f32).collect()
    }
}

/// A normally distributed number (Box and Muller, 1958).
fn normal(rng: &mut StdRng) -> f32 {
    let (radius, turn): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_distributed_as_what_was_measured() {
        let mut rng = StdRng::seed_from_u64(1);
        let (tokens, rank) = (20_000, 3);
        let mut values = Vec::new();
        for _ in 0..tokens {
            let [a, b, c] = [normal(&mut rng), normal(&mut rng), normal(&mut rng)];
            values.extend([a + 0.5, 2.0 * a + b, 0.1 * c - 1.0]);
        }
        let tensor = Tensor::from_vec(values, (tokens, rank), &Device::Cpu).unwrap();
        let mut residuals = Residuals::new(0.5);
        assert!(residuals.draw(4, 1).unwrap().is_empty());
        residuals.measure(std::slice::from_ref(&tensor)).unwrap();
        let noise = residuals.draw(tokens, 7).unwrap();
        let drawn = Moments::of(&noise[0].values().unwrap()).unwrap();
        let expected = Moments::of(&tensor).unwrap();
        let mean = (drawn.mean - expected.mean * 0.5).amax();
        let covariance = (drawn.covariance - expected.covariance * 0.25).amax();
        assert!(mean < 0.03 && covariance < 0.03, "{mean} {covariance}");
    }
}
