//! Axes dealt to groups.

/// Where the axes of a basis go: places in the coded vector, group after group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deal {
    /// Axis at each place.
    pub(crate) perm: Vec<u16>,
    /// Places of each group.
    pub(crate) dims: Vec<u16>,
}

/// Deals the axes, most important first, each to the group that carries least so far and has room, so that all carry about the
/// same sum of log-variance: equal codebooks then serve them equally well. Groups differ in size by one axis at most.
///
/// `groups` must lie between 1 and the number of axes.
pub(crate) fn deal(variances: &[f64], groups: usize) -> Deal {
    let logs = log_variances(variances);
    let (small, larger) = (logs.len() / groups, logs.len() % groups);
    let mut hands = vec![(0.0_f64, Vec::new()); groups];
    for (axis, log) in logs.iter().enumerate() {
        let open = hands
            .iter_mut()
            .enumerate()
            .filter(|(group, (_, hand))| hand.len() < small + usize::from(*group < larger));
        // The first of equals, so that the deal is the same everywhere.
        let least = open.min_by(|(_, (a, _)), (_, (b, _))| a.total_cmp(b));
        if let Some((_, (carried, hand))) = least {
            *carried += log;
            hand.push(axis as u16);
        }
    }
    Deal {
        dims: hands.iter().map(|(_, hand)| hand.len() as u16).collect(),
        perm: hands.into_iter().flat_map(|(_, hand)| hand).collect(),
    }
}

/// Logarithms lifted to be positive: an axis must weigh something, however small its variance.
fn log_variances(variances: &[f64]) -> Vec<f64> {
    let floor = variances.iter().copied().fold(0.0, f64::max) * 1e-7;
    let logs = variances
        .iter()
        .map(|&v| v.max(floor).max(f64::MIN_POSITIVE).ln());
    let logs: Vec<f64> = logs.collect();
    let least = logs.iter().copied().fold(f64::INFINITY, f64::min);
    logs.into_iter().map(|log| log - least + 1e-3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_is_dealt_once_and_sizes_differ_by_one() {
        let variances: Vec<f64> = (0..50).map(|i| 0.9_f64.powi(i)).collect();
        let Deal { perm, dims } = deal(&variances, 8);
        let mut axes = perm.clone();
        axes.sort_unstable();
        assert_eq!(axes, (0..50).collect::<Vec<u16>>());
        assert_eq!(dims, [7, 7, 6, 6, 6, 6, 6, 6]);
    }

    #[test]
    fn groups_carry_about_the_same() {
        let variances: Vec<f64> = (0..192).map(|i| 0.96_f64.powi(i)).collect();
        let Deal { perm, dims } = deal(&variances, 40);
        let logs = log_variances(&variances);
        let mut perm = perm.iter();
        let loads = dims.iter().map(|&dim| {
            let hand = perm.by_ref().take(usize::from(dim));
            hand.map(|&axis| logs[usize::from(axis)]).sum::<f64>()
        });
        let (low, high) = loads.fold((f64::MAX, 0.0_f64), |(l, h), x| (l.min(x), h.max(x)));
        assert!(high / low < 1.3, "loads from {low} to {high}");
    }

    #[test]
    fn no_variance_at_all_is_still_dealt() {
        let Deal { perm, dims } = deal(&[0.0; 5], 2);
        assert_eq!((perm.len(), dims), (5, vec![3, 2]));
    }
}
