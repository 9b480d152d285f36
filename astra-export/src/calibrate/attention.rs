//! How much attention each token gets: what an error in it is worth.
//!
//! Query i reads key j with weight a_ij, so an error in token j moves the output of i in proportion to a_ij, and the sum of the squared
//! outputs by
//!
//! ```text
//! w_j = sum over heads h and queries i of  a_hij²
//! ```
//!
//! times the form of the metric. An image has tokens that hardly anybody reads, and codewords spent on those are wasted.

use ndarray::{ArrayView2, ArrayViewMut2, linalg::general_mat_mul, s};

use crate::fit::AttentionShape;

/// Keys as queries see them.
pub(super) struct Reading<'a> {
    /// Sizes of the block's attention.
    pub(super) shape: AttentionShape,
    /// Queries, `[rows, heads * d]`.
    pub(super) q: &'a [f32],
    /// Keys, `[rows, kv_heads * d]`.
    pub(super) k: &'a [f32],
    /// Whether a row reads itself and those before it only.
    pub(super) causal: bool,
}

impl Reading<'_> {
    /// w of every row, for the queries of the rows named. Empty if q and k are not of one number of rows.
    pub(super) fn importance(&self, queries: &[usize]) -> Vec<f32> {
        let AttentionShape {
            heads,
            kv_heads,
            head_dim: d,
            ..
        } = self.shape;
        let rows = self.k.len().checked_div(self.shape.kv_width()).unwrap_or(0);
        // A view takes a slice that is too long.
        if self.q.len() != rows * self.shape.query_width() {
            return Vec::new();
        }
        let (Ok(q), Ok(k)) = (
            ArrayView2::from_shape((rows, self.shape.query_width()), self.q),
            ArrayView2::from_shape((rows, self.shape.kv_width()), self.k),
        ) else {
            return Vec::new();
        };
        let mut importance = vec![0.0_f32; rows];
        let mut scores = vec![0.0_f32; queries.len() * rows];
        let scale = 1.0 / (d as f32).sqrt();
        for head in 0..heads {
            let kv_head = head * kv_heads / heads;
            let k = k.slice(s![.., kv_head * d..(kv_head + 1) * d]);
            let q = q
                .slice(s![.., head * d..(head + 1) * d])
                .select(ndarray::Axis(0), queries);
            if let Ok(mut scores) = ArrayViewMut2::from_shape((queries.len(), rows), &mut scores) {
                general_mat_mul(scale, &q, &k.t(), 0.0, &mut scores);
            }
            for (row, &query) in scores.chunks_exact_mut(rows.max(1)).zip(queries) {
                let seen = if self.causal { query + 1 } else { rows };
                add_squared_softmax(row.get_mut(..seen).unwrap_or_default(), &mut importance);
            }
        }
        importance
    }
}

/// Adds the squares of the softmax of `scores`, which it uses up.
fn add_squared_softmax(scores: &mut [f32], sums: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - top).exp();
        total += *score;
    }
    for (sum, score) in sums.iter_mut().zip(scores) {
        *sum += (*score / total).powi(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: AttentionShape = AttentionShape {
        hidden: 8,
        heads: 4,
        kv_heads: 2,
        head_dim: 2,
    };

    fn waves(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| 2.0 * (i as f32 * step).sin()).collect()
    }

    /// The formula, query by query.
    fn slow(q: &[f32], k: &[f32], rows: usize, queries: &[usize], causal: bool) -> Vec<f32> {
        let mut sums = vec![0.0; rows];
        for head in 0..4 {
            for &query in queries {
                let score = |key: usize| -> f32 {
                    let dot: f32 = (0..2)
                        .map(|i| q[query * 8 + head * 2 + i] * k[key * 4 + head / 2 * 2 + i])
                        .sum();
                    (dot / 2.0_f32.sqrt()).exp()
                };
                let seen = if causal { query + 1 } else { rows };
                let total: f32 = (0..seen).map(score).sum();
                for (key, sum) in sums.iter_mut().enumerate().take(seen) {
                    *sum += (score(key) / total).powi(2);
                }
            }
        }
        sums
    }

    #[test]
    fn importance_is_the_sum_of_squared_attention() {
        let (q, k) = (waves(5 * 8, 0.7), waves(5 * 4, 1.3));
        let queries = [0, 3, 4];
        let (shape, q, k) = (SHAPE, q.as_slice(), k.as_slice());
        for causal in [false, true] {
            let reading = Reading {
                shape,
                q,
                k,
                causal,
            };
            let found = reading.importance(&queries);
            let expected = slow(q, k, 5, &queries, causal);
            assert_eq!(found.len(), 5);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
            }
            assert!(expected[0] != expected[1]);
        }
    }

    #[test]
    fn rows_that_do_not_belong_together_have_none() {
        let (q, k) = (waves(5 * 8, 0.7), waves(4 * 4, 1.3));
        let (shape, q, k) = (SHAPE, q.as_slice(), k.as_slice());
        assert!(
            Reading {
                shape,
                q,
                k,
                causal: false,
            }
            .importance(&[0])
            .is_empty()
        );
    }
}
