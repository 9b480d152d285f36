//! What calibration keeps of a block, and the weights that go with it.

use std::ops::Range;

use astra_wire::MIN_MEAN_TOKENS;
use nalgebra::DMatrix;
use ndarray::ArrayView2;

use super::FitError;

/// Members that an input is divided among.
const MEMBERS: usize = 4;

/// Sizes of a block's attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Width of a token, D.
    pub hidden: usize,
    /// Query heads, H.
    pub heads: usize,
    /// Heads of K and V; `heads / kv_heads` query heads share one.
    pub kv_heads: usize,
    /// Width of a head, d.
    pub head_dim: usize,
}

/// Projections of one block as `[in, out]` matrices, row-major: `q = n wq + bq` and so on. The output bias and the query
/// projection have no part in the codec.
#[derive(Clone, Copy, Debug)]
pub struct BlockWeights<'a> {
    /// Sizes.
    pub shape: AttentionShape,
    /// `[D, kv_heads * d]`.
    pub wk: &'a [f32],
    /// `[kv_heads * d]`.
    pub bk: &'a [f32],
    /// `[D, kv_heads * d]`.
    pub wv: &'a [f32],
    /// `[kv_heads * d]`.
    pub bv: &'a [f32],
    /// `[heads * d, D]`, layer scale folded in.
    pub wo: &'a [f32],
}

/// Tokens of one block: post-norm inputs as they are, queries and values as the moments the metric needs.
#[derive(Clone, Debug)]
pub struct BlockSamples {
    shape: AttentionShape,
    inputs: Vec<f32>,
    /// Rows of each input.
    lengths: Vec<usize>,
    /// How much an error in each token matters beside one in the others, a value a row.
    importance: Vec<f32>,
    /// Queries seen.
    readers: usize,
    /// Sum of r q qᵀ over them, and sum of r, a pair a query head.
    queries: Vec<(DMatrix<f64>, f64)>,
    /// Sum of v vᵀ, a matrix a K/V head, and sum of v.
    values: Vec<(DMatrix<f64>, DMatrix<f64>)>,
}

impl AttentionShape {
    /// Width of q.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of k, and of v.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

impl BlockSamples {
    /// Nothing seen yet.
    pub fn new(shape: AttentionShape) -> Self {
        let d = shape.head_dim;
        let square = DMatrix::zeros(d, d);
        Self {
            shape,
            inputs: Vec::new(),
            lengths: Vec::new(),
            importance: Vec::new(),
            readers: 0,
            queries: vec![(square.clone(), 0.0); shape.heads],
            values: vec![(square, DMatrix::zeros(1, d)); shape.kv_heads],
        }
    }

    /// Adds tokens that matter equally: `n` `[rows, D]`, `q` `[rows, heads * d]`, `v` `[rows, kv_heads * d]`, row-major.
    ///
    /// # Errors
    /// The three do not hold the same number of whole rows; what was sampled is then untouched.
    pub fn push(&mut self, n: &[f32], q: &[f32], v: &[f32]) -> Result<(), RowsError> {
        let rows = n.len() / self.shape.hidden.max(1);
        matrix_of("q", q, rows, self.shape.query_width())?;
        self.push_weighted(n, v, &vec![1.0; rows])?;
        self.push_queries(q, &vec![1.0; rows * self.shape.heads])
    }

    /// Adds tokens of one input, in its order, with the importance of each: `n` `[rows, D]`, `v` `[rows, kv_heads * d]`, and `importance` `[rows]`, not negative, on
    /// one scale for all tokens of the block.
    ///
    /// # Errors
    /// They do not hold the same number of whole rows; what was sampled is then untouched.
    pub fn push_weighted(
        &mut self,
        n: &[f32],
        v: &[f32],
        importance: &[f32],
    ) -> Result<(), RowsError> {
        let rows = n.len() / self.shape.hidden.max(1);
        matrix_of("n", n, rows, self.shape.hidden)?;
        let v = matrix_of("v", v, rows, self.shape.kv_width())?;
        matrix_of("importance", importance, rows, 1)?;
        let d = self.shape.head_dim;
        for (head, (squares, sum)) in self.values.iter_mut().enumerate() {
            let part = columns(v, head * d, d);
            *squares += part.tr_mul(&part);
            *sum += DMatrix::from_row_iterator(1, d, part.row_sum().iter().copied());
        }
        self.inputs.extend_from_slice(n);
        self.lengths.push(rows);
        self.importance.extend_from_slice(importance);
        Ok(())
    }

    /// Adds queries, `[readers, heads * d]`, and how much each of them reads of errors, `[heads, readers]`, not negative.
    ///
    /// # Errors
    /// The two do not hold the same number of whole rows; what was sampled is then untouched.
    pub fn push_queries(&mut self, q: &[f32], reads: &[f32]) -> Result<(), RowsError> {
        let readers = q.len() / self.shape.query_width().max(1);
        let q = matrix_of("q", q, readers, self.shape.query_width())?;
        matrix_of("reads", reads, self.shape.heads, readers)?;
        let d = self.shape.head_dim;
        let heads = self.queries.iter_mut().zip(reads.chunks(readers.max(1)));
        for (head, ((moment, sum), reads)) in heads.enumerate() {
            let mut part = columns(q, head * d, d);
            for (mut row, &read) in part.row_iter_mut().zip(reads) {
                row *= f64::from(read).sqrt();
                *sum += f64::from(read);
            }
            *moment += part.tr_mul(&part);
        }
        self.readers += readers;
        Ok(())
    }

    /// Sizes of the block.
    pub fn shape(&self) -> AttentionShape {
        self.shape
    }

    /// Tokens seen.
    pub fn rows(&self) -> usize {
        self.inputs.len() / self.shape.hidden.max(1)
    }

    /// Post-norm inputs, `[rows, D]`.
    pub fn inputs(&self) -> &[f32] {
        &self.inputs
    }

    /// Rows that would share a frame with a mean: those of a quarter of an input.
    pub(crate) fn frames(&self) -> Vec<Range<usize>> {
        let mut first = 0;
        let mut frames = Vec::new();
        for &rows in &self.lengths {
            for part in 0..MEMBERS {
                let frame = first + rows * part / MEMBERS..first + rows * (part + 1) / MEMBERS;
                if frame.len() >= usize::from(MIN_MEAN_TOKENS) {
                    frames.push(frame);
                }
            }
            first += rows;
        }
        frames
    }

    /// Importance of each token, `[rows]`.
    pub fn importance(&self) -> &[f32] {
        &self.importance
    }

    /// E[r q qᵀ] of each query head, `[d, d]`, and E[r].
    pub(crate) fn query_moments(&self) -> impl Iterator<Item = (DMatrix<f64>, f64)> {
        let readers = self.readers as f64;
        let heads = self.queries.iter();
        heads.map(move |(moment, sum)| (moment / readers, sum / readers))
    }

    /// Covariance of the values of each K/V head, `[d, d]`.
    pub(crate) fn value_covariances(&self) -> Vec<DMatrix<f64>> {
        let rows = self.rows() as f64;
        let covariance = |(squares, sum): &(DMatrix<f64>, DMatrix<f64>)| {
            squares / rows - sum.transpose() * sum / (rows * rows)
        };
        self.values.iter().map(covariance).collect()
    }
}

/// Rows handed to [`BlockSamples::push`] do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: found {found} values, expected {rows} rows of {width}")]
pub struct RowsError {
    what: &'static str,
    found: usize,
    rows: usize,
    width: usize,
}

impl RowsError {
    fn new(what: &'static str, found: usize, rows: usize, width: usize) -> Self {
        Self {
            what,
            found,
            rows,
            width,
        }
    }
}

fn matrix_of<'a>(
    what: &'static str,
    values: &'a [f32],
    rows: usize,
    width: usize,
) -> Result<ArrayView2<'a, f32>, RowsError> {
    let refuse = || RowsError::new(what, values.len(), rows, width);
    // A view takes a slice that is too long.
    if values.len() != rows * width {
        return Err(refuse());
    }
    ArrayView2::from_shape((rows, width), values).map_err(|_| refuse())
}

fn columns(rows: ArrayView2<'_, f32>, first: usize, width: usize) -> DMatrix<f64> {
    let part = rows.slice(ndarray::s![.., first..first + width]);
    DMatrix::from_row_iterator(part.nrows(), width, part.iter().map(|&x| f64::from(x)))
}

/// Checks that samples and weights of a block fit each other.
pub(crate) fn check(
    block: usize,
    samples: &BlockSamples,
    weights: &BlockWeights<'_>,
) -> Result<(), FitError> {
    let shape = weights.shape;
    let (d, w, q) = (shape.hidden, shape.kv_width(), shape.query_width());
    let size = |what, found: usize, expected: usize| {
        if found == expected {
            return Ok(());
        }
        Err(FitError::Size {
            block,
            what,
            found,
            expected,
        })
    };
    if shape.kv_heads == 0 || !shape.heads.is_multiple_of(shape.kv_heads) {
        return Err(FitError::Heads {
            block,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
        });
    }
    size("token", samples.shape.hidden, d)?;
    size("query", samples.shape.query_width(), q)?;
    size("value", samples.shape.kv_width(), w)?;
    size("wk", weights.wk.len(), d * w)?;
    size("bk", weights.bk.len(), w)?;
    size("wv", weights.wv.len(), d * w)?;
    size("bv", weights.bv.len(), w)?;
    size("wo", weights.wo.len(), q * d)?;
    if samples.rows() == 0 || samples.readers == 0 {
        return Err(FitError::NoTokens { block });
    }
    if samples.inputs.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    Err(FitError::NotFinite {
        block,
        what: "sampled tokens",
    })
}
