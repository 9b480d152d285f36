//! From tokens to the axes that are coded, and from those to keys and values.
//!
//! With M normalised to trace D and lifted by 1e-3, and V the principal axes of (n - mu) M^½:
//! `y = (n - mu) M^½ V` and `[K | V] = y Vᵀ M^-½ [Wk | Wv] + mu [Wk | Wv] + [bk | bv]`. Distance in y is the square root of the metric's
//! form, so plain nearest-word search in y minimises what the metric measures. Leading axes alone give the best approximation
//! of their rank.

use nalgebra::{DMatrix, DMatrixView, DVector, DVectorView, SymmetricEigen};

use super::metric::matrix;
use super::samples::BlockWeights;
use astra_bundle::round_to_f16;

/// Added to the metric, in units of its mean eigenvalue: M is nearly singular where no head reads, and its inverse root is needed.
const RIDGE: f64 = 1e-3;

/// Mean and covariance of a block's tokens.
pub(crate) struct Spread {
    pub(crate) mean: DVector<f64>,
    pub(crate) covariance: DMatrix<f64>,
}

/// A basis in one block, row-major. D is the width of a token, W that of K and of V.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedTransform {
    /// `[rank, D]`, an axis a row: `y = n enc_wᵀ + enc_b`.
    pub enc_w: Vec<f32>,
    /// `[rank]`.
    pub enc_b: Vec<f32>,
    /// `[rank, 2 W]`: `[K | V] = y dec_w + dec_b`.
    pub dec_w: Vec<f32>,
    /// `[2 W]`.
    pub dec_b: Vec<f32>,
    /// Variance along each axis of what is coded, descending, `[rank]`.
    pub variances: Vec<f64>,
}

impl FittedTransform {
    /// `y` of `inputs`, `[rows, D]`, as `[rows, rank]`.
    pub(crate) fn encode(&self, inputs: &[f32]) -> Vec<f32> {
        let rank = self.enc_b.len();
        let width = self.enc_w.len().checked_div(rank).unwrap_or_default();
        // Column-major, tokens and their y are columns, and enc_w read by columns is already transposed.
        let rows = inputs.len().checked_div(width).unwrap_or_default();
        let encode = DMatrixView::from_slice(&self.enc_w, width, rank);
        let mut y = encode.tr_mul(&DMatrixView::from_slice(inputs, width, rows));
        let bias = DVectorView::from_slice(&self.enc_b, rank);
        y.column_iter_mut().for_each(|mut y| y += bias);
        y.data.into()
    }

    /// The leading `rank` axes alone.
    pub(crate) fn leading(&self, rank: usize) -> Self {
        let rows = |matrix: &[f32]| {
            let width = matrix.len().checked_div(self.enc_b.len());
            let width = width.unwrap_or_default();
            matrix.get(..rank * width).unwrap_or(matrix).to_vec()
        };
        Self {
            enc_w: rows(&self.enc_w),
            enc_b: rows(&self.enc_b),
            dec_w: rows(&self.dec_w),
            dec_b: self.dec_b.clone(),
            variances: self.variances.iter().take(rank).copied().collect(),
        }
    }

    /// Rounds its matrices and biases to what a bundle stores.
    pub(crate) fn round(&mut self) {
        for values in [
            &mut self.enc_w,
            &mut self.enc_b,
            &mut self.dec_w,
            &mut self.dec_b,
        ] {
            round_to_f16(values);
        }
    }

    /// The same space with other axes: column i of `axes`, `[rank, rank]` and orthonormal, becomes axis i, with the variance i.
    pub(crate) fn turned(&self, axes: &DMatrix<f64>, variances: Vec<f64>) -> Self {
        let rank = self.enc_b.len();
        let turn = |values: &[f32]| row_major(&axes.tr_mul(&matrix(values, rank)));
        Self {
            enc_w: turn(&self.enc_w),
            enc_b: turn(&self.enc_b),
            dec_w: turn(&self.dec_w),
            dec_b: self.dec_b.clone(),
            variances,
        }
    }
}

impl Spread {
    /// Of `inputs`, `[rows, width]`, each counted as often as its `importance` says, `[rows]`.
    pub(crate) fn of(inputs: &[f32], importance: &[f32], width: usize) -> Self {
        const CHUNK: usize = 1024;
        let total: f64 = importance.iter().map(|&w| f64::from(w)).sum();
        let total = total.max(f64::MIN_POSITIVE);
        let mut mean = DVector::zeros(width);
        for (row, &w) in inputs.chunks_exact(width).zip(importance) {
            mean.iter_mut()
                .zip(row)
                .for_each(|(sum, &x)| *sum += f64::from(w) * f64::from(x));
        }
        mean /= total;
        let mut covariance = DMatrix::zeros(width, width);
        for (chunk, importance) in inputs.chunks(CHUNK * width).zip(importance.chunks(CHUNK)) {
            // Columns are tokens here, so that the mean is taken off a column at a time.
            let mut tokens = DMatrix::from_iterator(
                width,
                chunk.len() / width,
                chunk.iter().map(|&x| f64::from(x)),
            );
            for (mut token, &w) in tokens.column_iter_mut().zip(importance) {
                token -= &mean;
                token *= f64::from(w).sqrt();
            }
            covariance += &tokens * tokens.transpose();
        }
        covariance /= total;
        Self { mean, covariance }
    }
}

/// Fits the leading `rank` axes; without a metric every direction counts the same.
pub(crate) fn fit_transform(
    spread: &Spread,
    metric: Option<&DMatrix<f64>>,
    weights: &BlockWeights<'_>,
    rank: usize,
) -> FittedTransform {
    let width = weights.shape.hidden;
    let (root, inverse) = match metric {
        Some(metric) => roots(metric),
        None => (
            DMatrix::identity(width, width),
            DMatrix::identity(width, width),
        ),
    };
    let (variances, axes) = principal_axes(&(&root * &spread.covariance * &root));
    let axes = axes.columns(0, rank);
    let encode = axes.tr_mul(&root);
    let kv = keys_and_values(weights);
    let decode = axes.tr_mul(&inverse) * &kv;
    let bias = spread.mean.transpose() * &kv;
    let bias = bias.iter().zip(weights.bk.iter().chain(weights.bv));
    FittedTransform {
        enc_b: (&encode * &spread.mean)
            .iter()
            .map(|&x| -x as f32)
            .collect(),
        enc_w: row_major(&encode),
        dec_w: row_major(&decode),
        dec_b: bias.map(|(x, &b)| (x + f64::from(b)) as f32).collect(),
        variances: variances.into_iter().take(rank).collect(),
    }
}

/// `[Wk | Wv]`, `[D, 2 W]`.
fn keys_and_values(weights: &BlockWeights<'_>) -> DMatrix<f64> {
    let (rows, width) = (weights.shape.hidden, weights.shape.kv_width());
    let mut both = DMatrix::zeros(rows, 2 * width);
    both.columns_mut(0, width)
        .copy_from(&matrix(weights.wk, rows));
    both.columns_mut(width, width)
        .copy_from(&matrix(weights.wv, rows));
    both
}

/// M^½ and M^-½ of the normalised, lifted metric.
fn roots(metric: &DMatrix<f64>) -> (DMatrix<f64>, DMatrix<f64>) {
    let width = metric.nrows();
    let trace = metric.trace();
    // A block whose attention output is nothing at all: any error is as good as any other.
    let scale = if trace > 0.0 {
        width as f64 / trace
    } else {
        0.0
    };
    let lifted = metric * scale + DMatrix::identity(width, width) * RIDGE;
    let eigen = SymmetricEigen::new(lifted);
    let power = |exponent: f64| {
        let mut scaled = eigen.eigenvectors.clone();
        let values = eigen.eigenvalues.iter();
        for (mut axis, value) in scaled.column_iter_mut().zip(values) {
            axis *= value.max(RIDGE * 0.5).powf(exponent);
        }
        scaled * eigen.eigenvectors.transpose()
    };
    (power(0.5), power(-0.5))
}

/// Eigenvalues, descending, and eigenvectors as columns, each with its largest entry positive so that the same samples give
/// the same axes.
pub(crate) fn principal_axes(covariance: &DMatrix<f64>) -> (Vec<f64>, DMatrix<f64>) {
    let symmetric = (covariance + covariance.transpose()) * 0.5;
    let eigen = SymmetricEigen::new(symmetric);
    let mut order: Vec<_> = eigen
        .eigenvalues
        .iter()
        .copied()
        .zip(eigen.eigenvectors.column_iter())
        .collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let columns: Vec<_> = order
        .iter()
        .map(|(_, axis)| {
            if axis[axis.iamax()] < 0.0 {
                -axis
            } else {
                axis.clone_owned()
            }
        })
        .collect();
    let variances = order.iter().map(|&(value, _)| value.max(0.0)).collect();
    (variances, DMatrix::from_columns(&columns))
}

pub(crate) fn row_major(matrix: &DMatrix<f64>) -> Vec<f32> {
    // nalgebra stores columns: the transpose's columns are the rows.
    matrix.transpose().iter().map(|&x| x as f32).collect()
}
