//! Queries as the keys they are compared with see them.
//!
//! With rotary positions, query i and key j meet as q_i R(i - j) k_j: what an error in a key does depends on the query turned
//! by the distance between both, not on either's own place. K before rotation is what codes stand for.

use rand::Rng;
use rand::rngs::StdRng;

/// Turns each row of `q`, which is rotated by its position, back by that of some earlier token that it may read: row i of
/// `rows` by one of `first..=rows[i]`. `frequencies` are the angles a position, `[d / 2]`, of channels i and i + d / 2.
pub(super) fn turn_back(
    q: &mut [f32],
    rows: &[usize],
    first: usize,
    frequencies: &[f64],
    rng: &mut StdRng,
) {
    let width = q.len().checked_div(rows.len()).unwrap_or(0);
    for (q, &row) in q.chunks_exact_mut(width.max(1)).zip(rows) {
        let from = rng.random_range(first..=row.max(first));
        let turns: Vec<(f32, f32)> = frequencies
            .iter()
            .map(|frequency| (from as f64 * frequency).sin_cos())
            .map(|(sin, cos)| (sin as f32, cos as f32))
            .collect();
        for head in q.chunks_exact_mut((2 * frequencies.len()).max(1)) {
            let (low, high) = head.split_at_mut(frequencies.len());
            for ((a, b), &(sin, cos)) in low.iter_mut().zip(high).zip(&turns) {
                (*a, *b) = (*a * cos + *b * sin, *b * cos - *a * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_row_is_turned_by_an_earlier_place() {
        // Two heads of two channels; a query at row 3 turned back by 3 is as before rotation.
        let angle = 3.0_f64 * 0.5;
        let (sin, cos) = (angle.sin() as f32, angle.cos() as f32);
        let mut q = [cos, sin, -2.0 * sin, 2.0 * cos];
        let mut rng = StdRng::seed_from_u64(1);
        turn_back(&mut q, &[3], 3, &[0.5], &mut rng);
        for (found, expected) in q.iter().zip([1.0, 0.0, 0.0, 2.0]) {
            assert!((found - expected).abs() < 1e-6, "{q:?}");
        }
        // Earlier ones leave some of the turn, and never lengthen.
        let mut q = [cos, sin, 0.0, 0.0];
        turn_back(&mut q, &[3], 0, &[0.5], &mut rng);
        assert!((q[0].hypot(q[1]) - 1.0).abs() < 1e-6);
    }
}
