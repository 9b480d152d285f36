//! Queries as the keys they are compared with see them.
//!
//! With rotary positions, query i and key j meet as q_i R(i - j) k_j: what an error in a key does depends on the query turned
//! by the distance between both, not on either's own place. K before rotation is what codes stand for.

/// Turns each head of each row of `q`, which is rotated by its position, back by that of a token it reads: `read`, `[heads, rows]`.
/// `frequencies` are the angles a position, `[d / 2]`, of channels i and i + d / 2.
pub(super) fn turn_back(q: &mut [f32], rows: usize, read: &[usize], frequencies: &[f64]) {
    let width = q.len().checked_div(rows).unwrap_or(0);
    for (row, q) in q.chunks_exact_mut(width.max(1)).enumerate() {
        let heads = q.chunks_exact_mut((2 * frequencies.len()).max(1));
        for (head, q) in heads.enumerate() {
            let from = read.get(head * rows + row).copied().unwrap_or_default();
            let (low, high) = q.split_at_mut(frequencies.len());
            for ((a, b), frequency) in low.iter_mut().zip(high).zip(frequencies) {
                let (sin, cos) = (from as f64 * frequency).sin_cos();
                let (sin, cos) = (sin as f32, cos as f32);
                (*a, *b) = (*a * cos + *b * sin, *b * cos - *a * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_turned_by_the_place_it_reads() {
        // Two heads of two channels, both rotated to place 3: turned back by 3 one is as before rotation, by 1 the other is at 2.
        let at = |place: f64| (place * 0.5).sin_cos();
        let (sin, cos) = at(3.0);
        let mut q = [cos, sin, -2.0 * sin, 2.0 * cos].map(|x| x as f32);
        turn_back(&mut q, 1, &[3, 1], &[0.5]);
        let (sin, cos) = at(2.0);
        for (found, expected) in q.iter().zip([1.0, 0.0, -2.0 * sin, 2.0 * cos]) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{q:?}");
        }
    }
}
