//! Tables derived from the dimension-major codewords when a codebook is loaded.

use crate::CodebookError;
use crate::codebook::{check_length, check_shape};

/// Writes the codewords word-major, `[K][d_g]` per group, groups contiguous.
///
/// `dim_major` is `[d_g][K]` per group, groups contiguous; both hold `R * K` numbers.
///
/// # Errors
/// The shape is refused by [`Codebook::new`](crate::Codebook::new), or a buffer does not have
/// its length; `out` is then untouched.
pub fn word_major(
    dims: &[u16],
    words: usize,
    dim_major: &[f32],
    out: &mut [f32],
) -> Result<(), CodebookError> {
    let shape = check_shape(dims, words)?;
    check_length("dim_major", dim_major.len(), shape.table)?;
    check_length("word_major", out.len(), shape.table)?;
    let (mut from, mut to) = (dim_major, out);
    for &dim in dims {
        let dim = usize::from(dim);
        let (group, rest) = from.split_at(dim * words);
        let (out, rest_of_out) = core::mem::take(&mut to).split_at_mut(dim * words);
        for (axis, row) in group.chunks_exact(words).enumerate() {
            let column = out.iter_mut().skip(axis).step_by(dim);
            column.zip(row).for_each(|(to, &from)| *to = from);
        }
        (from, to) = (rest, rest_of_out);
    }
    Ok(())
}

/// Writes half the squared length of every codeword, `[G][K]`.
///
/// Summed in double precision and rounded once, so that every device derives the same table.
///
/// # Errors
/// As for [`word_major`].
pub fn half_norms(
    dims: &[u16],
    words: usize,
    dim_major: &[f32],
    out: &mut [f32],
) -> Result<(), CodebookError> {
    let shape = check_shape(dims, words)?;
    check_length("dim_major", dim_major.len(), shape.table)?;
    check_length("half_norms", out.len(), shape.norms)?;
    let mut rest = dim_major;
    for (&dim, norms) in dims.iter().zip(out.chunks_exact_mut(words)) {
        let (group, after) = rest.split_at(usize::from(dim) * words);
        for (word, norm) in norms.iter_mut().enumerate() {
            let axes = group.iter().skip(word).step_by(words);
            let squares = axes.map(|&c| f64::from(c) * f64::from(c));
            *norm = (0.5 * squares.sum::<f64>()) as f32;
        }
        rest = after;
    }
    Ok(())
}
