//! Which tokens of a frame are refined: those with the largest errors.

use crate::LengthError;

/// Writes the positions of the `positions.len()` largest of `errors`, ascending.
///
/// Of equal errors the lower position is chosen; NaN is chosen only when there are no numbers left. `scratch` has the length of
/// `errors`; its content before and after means nothing. Takes time proportional to the number of errors, except for the sorting of
/// the chosen positions.
///
/// # Errors
/// There are more than 65,536 errors, `scratch` has another length, or more positions than errors are asked for; `positions` is then
/// untouched.
pub fn largest(
    errors: &[f32],
    scratch: &mut [u16],
    positions: &mut [u16],
) -> Result<(), LengthError> {
    let length = |buffer, found, expected| LengthError::Buffer {
        buffer,
        found,
        expected,
    };
    if errors.len() > 1 << 16 {
        return Err(length("errors", errors.len(), 1 << 16));
    }
    if scratch.len() != errors.len() {
        return Err(length("scratch", scratch.len(), errors.len()));
    }
    if positions.len() > errors.len() {
        return Err(length("positions", positions.len(), errors.len()));
    }
    let Some(last) = positions.len().checked_sub(1) else {
        return Ok(());
    };
    for (position, index) in scratch.iter_mut().zip(0..=u16::MAX) {
        *position = index;
    }
    let rank = |&position: &u16| {
        let error = errors.get(usize::from(position)).copied();
        (!order(error.unwrap_or(f32::NAN)), position)
    };
    scratch.select_nth_unstable_by_key(last, rank);
    for (to, &from) in positions.iter_mut().zip(&*scratch) {
        *to = from;
    }
    positions.sort_unstable();
    Ok(())
}

/// A number that is larger for a larger error, equal for equal errors, and least for NaN.
fn order(error: f32) -> u32 {
    const SIGN: u32 = 1 << 31;
    if error.is_nan() {
        return 0;
    }
    // Adding zero turns -0 into +0. Two floats of one sign compare as their bits do.
    let bits = (error + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}
