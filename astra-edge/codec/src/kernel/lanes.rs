//! The interface of an instruction set.

/// Lanes of a vector, independent of the width of registers.
pub(super) const LANES: usize = 8;

/// An instruction set, as eight lanes of `f32`.
///
/// A value of the implementing type proves that the processor has the instructions, so the kernels
/// need no `unsafe`. Every method is `inline(always)`: only inside a function compiled for
/// the instruction set do the lanes become registers.
pub(super) trait Lanes: Copy {
    /// Eight floats.
    type Floats: Copy;
    /// Eight indices.
    type Indices: Copy;

    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, from: &[f32; LANES]) -> Self::Floats;
    fn store(self, from: Self::Floats) -> [f32; LANES];
    fn splat_index(self, value: u32) -> Self::Indices;
    fn store_indices(self, from: Self::Indices) -> [u32; LANES];

    /// `sum - a * b`, rounded once where the instruction set can.
    fn sub_mul(self, sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `score < best ? score : best`: a NaN score is never chosen.
    fn lower(self, score: Self::Floats, best: Self::Floats) -> Self::Floats;

    /// `now < before ? index : old`.
    fn note(
        self,
        now: Self::Floats,
        before: Self::Floats,
        index: Self::Indices,
        old: Self::Indices,
    ) -> Self::Indices;

    /// The lowest of eight scores, none of them NaN, and the least index of the lanes that hold it.
    fn lowest(self, best: Self::Floats, at: Self::Indices) -> (f32, u32);

    /// Bit `i` is set where lane `i` equals `value`.
    fn equal(self, lanes: Self::Floats, value: f32) -> u32;
}
