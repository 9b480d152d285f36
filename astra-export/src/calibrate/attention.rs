//! Who reads whom, and how much: what an error in a token is worth.
//!
//! Query i reads key j with weight a_ij, so an error in token j moves the output of i in proportion to a_ij, if it is another member's:
//! one's own tokens are never coded. With contiguous ranges of L tokens, wherever they begin, that is so with probability
//! f_ij = min(1, |i - j| / L). So
//!
//! ```text
//! w_j  = sum over heads h and queries i of  f_ij a_hij²     what an error in token j is worth
//! r_ih = sum over keys j of                 f_ij a_hij²     how much query i of head h reads of errors
//! ```
//!
//! An image has tokens that hardly anybody reads, and codewords spent on those are wasted; a text's heads mostly read what is near.

use ndarray::{ArrayView2, ArrayViewMut2, linalg::general_mat_mul, s};
use rand::Rng;
use rand::rngs::StdRng;

use crate::fit::AttentionShape;

/// Members that ranges are thought to be of. Not critical: it decides how far off a token is another's for sure.
const MEMBERS: usize = 4;

/// Queries and keys of one input.
pub(super) struct Reading<'a> {
    /// Sizes of the block's attention.
    pub(super) shape: AttentionShape,
    /// Queries, `[rows, heads * d]`.
    pub(super) q: &'a [f32],
    /// Keys, `[rows, kv_heads * d]`.
    pub(super) k: &'a [f32],
    /// Whether a row reads itself and those before it only.
    pub(super) causal: bool,
    /// First rows, which every member computes: what they read may be anybody's.
    pub(super) everywhere: usize,
}

/// What became of it. All empty if q and k are not of one number of rows.
#[derive(Debug, Default)]
pub(super) struct Attended {
    /// w of every row, `[rows]`.
    pub(super) tokens: Vec<f32>,
    /// r of the queries, `[heads, queries]`.
    pub(super) queries: Vec<f32>,
    /// A row that each of the queries reads, drawn in proportion to f a², `[heads, queries]`.
    pub(super) read: Vec<usize>,
}

impl Reading<'_> {
    /// Of the queries at the rows named.
    pub(super) fn by(&self, queries: &[usize], rng: &mut StdRng) -> Attended {
        let AttentionShape {
            heads,
            kv_heads,
            head_dim: d,
            ..
        } = self.shape;
        let rows = self.k.len().checked_div(self.shape.kv_width()).unwrap_or(0);
        // A view takes a slice that is too long.
        if self.q.len() != rows * self.shape.query_width() {
            return Attended::default();
        }
        let (Ok(q), Ok(k)) = (
            ArrayView2::from_shape((rows, self.shape.query_width()), self.q),
            ArrayView2::from_shape((rows, self.shape.kv_width()), self.k),
        ) else {
            return Attended::default();
        };
        let mut attended = Attended {
            tokens: vec![0.0; rows],
            ..Attended::default()
        };
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
                let weights = row.get_mut(..seen).unwrap_or_default();
                self.weigh(weights, query, rows);
                attended.add(weights, rng);
            }
        }
        attended
    }

    /// Scores of one query become f a².
    fn weigh(&self, scores: &mut [f32], query: usize, rows: usize) {
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut total = 0.0;
        for score in scores.iter_mut() {
            *score = (*score - top).exp();
            total += *score;
        }
        let range = rows.div_ceil(MEMBERS) as f32;
        for (key, score) in scores.iter_mut().enumerate() {
            let coded = if query < self.everywhere {
                1.0
            } else {
                (query.abs_diff(key) as f32 / range).min(1.0)
            };
            *score = coded * (*score / total).powi(2);
        }
    }
}

impl Attended {
    fn add(&mut self, weights: &[f32], rng: &mut StdRng) {
        let mut total = 0.0;
        for (sum, weight) in self.tokens.iter_mut().zip(weights) {
            *sum += weight;
            total += weight;
        }
        self.queries.push(total);
        let mut left = rng.random::<f32>() * total;
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        self.read.push(drawn.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

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

    /// f a² of a head, a query and a key, by the formula.
    fn slow(q: &[f32], k: &[f32], rows: usize, causal: bool, at: [usize; 3]) -> f32 {
        let [head, query, key] = at;
        let score = |key: usize| -> f32 {
            let dot: f32 = (0..2)
                .map(|i| q[query * 8 + head * 2 + i] * k[key * 4 + head / 2 * 2 + i])
                .sum();
            (dot / 2.0_f32.sqrt()).exp()
        };
        let seen = if causal { query + 1 } else { rows };
        if key >= seen {
            return 0.0;
        }
        let total: f32 = (0..seen).map(score).sum();
        let coded = match query {
            0 => 1.0,
            _ => (query.abs_diff(key) as f32 / 2.0).min(1.0),
        };
        coded * (score(key) / total).powi(2)
    }

    #[test]
    fn what_is_read_is_the_sum_of_the_formula() {
        let (q, k) = (waves(5 * 8, 0.7), waves(5 * 4, 1.3));
        let queries = [0, 3, 4];
        for causal in [false, true] {
            let reading = Reading {
                shape: SHAPE,
                q: &q,
                k: &k,
                causal,
                everywhere: 1,
            };
            let found = reading.by(&queries, &mut StdRng::seed_from_u64(1));
            let weight = |head, query, key| slow(&q, &k, 5, causal, [head, query, key]);
            for key in 0..5 {
                let of_head = |head| queries.map(|query| weight(head, query, key));
                let expected: f32 = (0..4).flat_map(of_head).sum();
                assert!((found.tokens[key] - expected).abs() < 1e-5);
            }
            for (place, (&sum, &read)) in found.queries.iter().zip(&found.read).enumerate() {
                let (head, query) = (place / 3, queries[place % 3]);
                let expected: f32 = (0..5).map(|key| weight(head, query, key)).sum();
                assert!((sum - expected).abs() < 1e-5, "{sum} and {expected}");
                assert!(expected == 0.0 || weight(head, query, read) > 0.0);
            }
            assert_eq!((found.tokens.len(), found.queries.len()), (5, 12));
        }
    }

    #[test]
    fn rows_that_do_not_belong_together_have_none() {
        let (q, k) = (waves(5 * 8, 0.7), waves(4 * 4, 1.3));
        let reading = Reading {
            shape: SHAPE,
            q: &q,
            k: &k,
            causal: false,
            everywhere: 0,
        };
        let found = reading.by(&[0], &mut StdRng::seed_from_u64(1));
        assert!(found.tokens.is_empty());
    }
}
