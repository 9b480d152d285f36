//! Consecutive axes divided into groups of equal bits.

/// Longest group considered, in mean sizes of a group.
const LONGEST: usize = 8;

/// Sizes of `groups` groups of consecutive axes, such that the sum of what `bits` bits leave of each group is least.
///
/// Of d axes with variances v_i, bits bits leave about what reverse water-filling leaves: sum of min(v_i, w) with w such that
/// sum of max(0, log2(v_i / w)) / 2 is the bits (Cover and Thomas, Elements of Information Theory, 10.3.3).
///
/// `groups` lies between 1 and the number of axes.
pub(crate) fn contiguous(variances: &[f64], groups: usize, bits: f64) -> Vec<u16> {
    let axes = variances.len();
    // Longer groups are never the best in practice, and their number decides the time.
    let longest = (axes + 1).saturating_sub(groups).max(1);
    let longest = longest.min(LONGEST * axes.div_ceil(groups.max(1)));
    // left[first][length - 1]
    let left: Vec<Vec<f64>> = (0..axes)
        .map(|first| {
            let mut sorted: Vec<f64> = Vec::new();
            let lengths = variances.iter().skip(first).take(longest);
            lengths
                .map(|&variance| {
                    let place = sorted.partition_point(|&v| v > variance);
                    sorted.insert(place, variance.max(f64::MIN_POSITIVE));
                    remaining(&sorted, bits)
                })
                .collect()
        })
        .collect();
    let mut best = vec![f64::INFINITY; axes + 1];
    if let Some(none) = best.first_mut() {
        *none = 0.0;
    }
    let mut choices: Vec<Vec<u16>> = Vec::new();
    for _ in 0..groups {
        let mut next = vec![f64::INFINITY; axes + 1];
        let mut choice = vec![0_u16; axes + 1];
        for (first, before) in best.iter().enumerate().filter(|(_, v)| v.is_finite()) {
            let lengths = left.get(first).into_iter().flatten();
            for (length, cost) in (1_u16..).zip(lengths) {
                let end = first + usize::from(length);
                if let (Some(next), Some(choice)) = (next.get_mut(end), choice.get_mut(end))
                    && before + cost < *next
                {
                    (*next, *choice) = (before + cost, length);
                }
            }
        }
        choices.push(choice);
        best = next;
    }
    let mut end = axes;
    let mut dims: Vec<u16> = choices
        .iter()
        .rev()
        .map(|choice| {
            let length = choice.get(end).copied().unwrap_or_default();
            end = end.saturating_sub(usize::from(length));
            length
        })
        .collect();
    dims.reverse();
    dims
}

/// Sum of variances, descending, that `bits` bits leave.
fn remaining(variances: &[f64], bits: f64) -> f64 {
    let mut logs = 0.0;
    let mut level = 0.0_f64;
    let mut filled = 0;
    for (count, variance) in (1_usize..).zip(variances) {
        let log = variance.log2();
        let trial = (logs + log - 2.0 * bits) / count as f64;
        // An axis below the level takes no bits, and neither do those after it.
        if count > 1 && trial > log {
            break;
        }
        logs += log;
        level = trial;
        filled = count;
    }
    let rest: f64 = variances.iter().skip(filled).sum();
    filled as f64 * level.exp2() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_best_of_all_divisions() {
        let variances = [9.0_f64, 0.5, 4.0, 3.0, 0.01, 2.0, 0.2];
        let cost = |dims: &[usize]| {
            let mut first = 0;
            let groups = dims.iter().map(|&dim| {
                let mut group = variances[first..first + dim].to_vec();
                first += dim;
                group.sort_by(|a, b| b.total_cmp(a));
                remaining(&group, 2.0)
            });
            groups.sum::<f64>()
        };
        let found = contiguous(&variances, 3, 2.0);
        let found: Vec<usize> = found.iter().map(|&dim| usize::from(dim)).collect();
        assert_eq!(found.iter().sum::<usize>(), 7);
        let mut best = f64::INFINITY;
        for a in 1..6 {
            for b in 1..(7 - a) {
                best = best.min(cost(&[a, b, 7 - a - b]));
            }
        }
        assert!((cost(&found) - best).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn what_bits_leave_follows_water_filling() {
        // Equal variances share the bits: 2 bits over 2 axes leave a quarter of each.
        assert!((remaining(&[1.0, 1.0], 2.0) - 0.5).abs() < 1e-12);
        // A small one takes none.
        assert!((remaining(&[1.0, 1e-3], 2.0) - (1.0 / 16.0 + 1e-3)).abs() < 1e-12);
    }

    #[test]
    fn every_axis_is_its_own_group_where_there_are_as_many() {
        assert_eq!(contiguous(&[1.0, 0.0, 2.0], 3, 8.0), [1, 1, 1]);
        assert_eq!(contiguous(&[0.0; 4], 1, 8.0), [4]);
    }
}
