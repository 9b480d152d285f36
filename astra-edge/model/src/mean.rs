//! Mean of rows, for class tokens of several members and for missing rows.

/// Mean of rows of one length, summed in order. `None` if there are no rows, or their lengths differ.
///
/// Members' copies of a class token are averaged this way (ASTRA, arXiv 2505.19342, distributed class tokens).
pub fn mean<'a>(rows: impl IntoIterator<Item = &'a [f32]>) -> Option<Vec<f32>> {
    let mut rows = rows.into_iter();
    let mut sum = rows.next()?.to_vec();
    let mut count = 1.0;
    for row in rows {
        if row.len() != sum.len() {
            return None;
        }
        for (total, value) in sum.iter_mut().zip(row) {
            *total += value;
        }
        count += 1.0;
    }
    for total in &mut sum {
        *total /= count;
    }
    Some(sum)
}

/// Copies `row` over every row of `rows`. `None` if `rows` is not a whole number of rows.
pub fn fill(rows: &mut [f32], row: &[f32]) -> Option<()> {
    let mut chunks = rows.chunks_exact_mut(row.len().max(1));
    for chunk in &mut chunks {
        chunk.copy_from_slice(row);
    }
    chunks.into_remainder().is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_length_have_a_mean() {
        let rows: [&[f32]; 3] = [&[1.0, 2.0], &[3.0, -2.0], &[5.0, 6.0]];
        assert_eq!(mean(rows), Some(vec![3.0, 2.0]));
        assert_eq!(mean([]), None);
        assert_eq!(mean([&[1.0][..], &[1.0, 2.0]]), None);
    }

    #[test]
    fn a_row_fills_whole_rows() {
        let mut rows = [0.0; 4];
        assert_eq!(fill(&mut rows, &[1.0, 2.0]), Some(()));
        assert_eq!(rows, [1.0, 2.0, 1.0, 2.0]);
        assert_eq!(fill(&mut rows[..3], &[1.0, 2.0]), None);
    }
}
