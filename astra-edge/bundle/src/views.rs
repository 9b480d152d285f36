//! What a reader gives of one block. Tensors stored as float32 are borrowed from the mapped file, those stored as float16 are
//! converted.

use std::borrow::Cow;

/// A basis in one block; see [`BasisBlock`](crate::BasisBlock) for what the tensors do.
#[derive(Debug, Clone)]
pub struct BasisView<'a> {
    /// Axes of y.
    pub rank: usize,
    /// `[rank, hidden]`
    pub enc_w: Cow<'a, [f32]>,
    /// `[rank]`
    pub enc_b: Cow<'a, [f32]>,
    /// `[rank, 2 * kv_width]`
    pub dec_w: Cow<'a, [f32]>,
    /// `[2 * kv_width]`
    pub dec_b: Cow<'a, [f32]>,
}

/// What exact mode decodes with in one block; see [`ExactBlock`](crate::ExactBlock).
#[derive(Debug, Clone)]
pub struct ExactView<'a> {
    /// `[hidden, 2 * kv_width]`
    pub dec_w: Cow<'a, [f32]>,
    /// `[2 * kv_width]`
    pub dec_b: Cow<'a, [f32]>,
}

/// How a rung predicts one block from the block before; see [`PredictionBlock`](crate::PredictionBlock).
#[derive(Debug, Clone)]
pub struct PredictionView<'a> {
    /// `[rank of the block before, rank]`
    pub w: Cow<'a, [f32]>,
    /// `[rank]`
    pub b: Cow<'a, [f32]>,
}
