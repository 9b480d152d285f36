//! What an error in a token does to the attention output, to first order.
//!
//! An error e in the post-norm input of one token moves its key by e Wk and its value by e Wv. Both reach the output scaled by the
//! attention the token gets; what differs between directions of e is the quadratic form e M eᵀ with
//!
//! ```text
//! M = sum over heads h of  s_h Wk_h E[r_h q qᵀ]/d Wk_hᵀ  +  E[r_h] Wv_h Wo_h Wo_hᵀ Wv_hᵀ
//! s_h = E |(v_h - E v_h) Wo_h|²
//! ```
//!
//! The first term is the change of the scores, worth what swapping one value for another is worth; the second the change of
//! the value itself. Both count by r, the squared attention that the query pays to tokens of others: a head that looks at one token
//! passes its whole error on, one that looks at all averages errors away. Query head h reads K/V head `h / (heads / kv_heads)`.

use nalgebra::DMatrix;

use super::samples::{BlockSamples, BlockWeights};

/// M of one block, `[D, D]`, symmetric and positive semidefinite.
pub(crate) fn attention_metric(samples: &BlockSamples, weights: &BlockWeights<'_>) -> DMatrix<f64> {
    let shape = weights.shape;
    let (width, d) = (shape.hidden, shape.head_dim);
    let wk = matrix(weights.wk, width);
    let wv = matrix(weights.wv, width);
    let wo = matrix(weights.wo, shape.query_width());
    let covariances = samples.value_covariances();
    let per_kv_head = shape.heads / shape.kv_heads;
    let mut metric = DMatrix::zeros(width, width);
    for (head, (queries, reads)) in samples.query_moments().enumerate() {
        let kv_head = head / per_kv_head;
        let wk = wk.columns(kv_head * d, d);
        let wv = wv.columns(kv_head * d, d);
        let wo = wo.rows(head * d, d);
        let outputs = wo * wo.transpose();
        let spread = covariances.get(kv_head);
        let spread = spread.map_or(0.0, |spread| spread.dot(&outputs));
        metric += wk * (queries * (spread / d as f64)) * wk.transpose();
        metric += wv * (outputs * reads) * wv.transpose();
    }
    (&metric + metric.transpose()) * 0.5
}

/// A row-major slice as a matrix of `rows` rows.
pub(crate) fn matrix(values: &[f32], rows: usize) -> DMatrix<f64> {
    let columns = values.len().checked_div(rows).unwrap_or_default();
    DMatrix::from_row_iterator(rows, columns, values.iter().map(|&x| f64::from(x)))
}
