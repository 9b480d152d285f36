//! Ratios of paired measurements, with a confidence interval.

use serde::Serialize;

/// Probability with which an interval is to contain the true median.
const CONFIDENCE: f64 = 0.95;

/// The ratio of this build's latencies to the other build's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// Median of the ratios of all rounds; below 1 where this build is faster.
    pub(crate) median: f64,
    /// Ends of the interval.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Probability with which the interval contains the true median.
    pub(crate) confidence: f64,
    /// Rounds that were compared.
    pub(crate) rounds: usize,
}

impl Ratio {
    /// Of pairs of latencies measured one right after the other, this build's first; `None` of none.
    ///
    /// The interval goes from the k-th smallest to the k-th largest ratio. It misses the true median if fewer than k ratios are on
    /// one side of it: with n independent rounds the probability is 2 P(B < k), B binomial of n and 1/2. k is the largest for which
    /// this is at most 5 %, and 1 where none is (fewer than 6 rounds).
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let mut ratios: Vec<f64> = pairs.iter().map(|(this, other)| this / other).collect();
        ratios.sort_by(f64::total_cmp);
        let (rank, confidence) = rank(ratios.len());
        let low = *ratios.get(rank - 1)?;
        let high = *ratios.get(ratios.len().checked_sub(rank)?)?;
        Some(Self {
            median: quantile(&ratios, 0.5),
            low,
            high,
            confidence,
            rounds: ratios.len(),
        })
    }
}

/// k for a number of rounds, and the probability that the interval contains the median.
fn rank(rounds: usize) -> (usize, f64) {
    // P(B = i), and 2 P(B <= i), from i = 0 on.
    let mut exactly = 0.5_f64.powi(i32::try_from(rounds).unwrap_or(i32::MAX));
    let mut missed = 2.0 * exactly;
    let mut rank = 1;
    loop {
        exactly *= rounds.saturating_sub(rank - 1) as f64 / rank as f64;
        let next = missed + 2.0 * exactly;
        if next > 1.0 - CONFIDENCE || rank >= rounds {
            return (rank, (1.0 - missed).max(0.0));
        }
        missed = next;
        rank += 1;
    }
}

/// The quantile of values in ascending order, interpolated linearly; 0 of none.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(0.0);
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_that_both_builds_share_is_no_difference() {
        let pairs: Vec<(f64, f64)> = (0..9)
            .map(|round| 100.0 * 1.1_f64.powi(round))
            .map(|other| (1.02 * other, other))
            .collect();
        let ratio = Ratio::of(&pairs).unwrap();
        for value in [ratio.low, ratio.median, ratio.high] {
            assert!((value - 1.02).abs() < 1e-12, "{ratio:?}");
        }
        assert_eq!(ratio.rounds, 9);
    }

    #[test]
    fn one_disturbed_round_in_nine_is_outside_the_interval() {
        let mut pairs = vec![(100.0, 100.0); 9];
        pairs[3].0 = 500.0;
        let ratio = Ratio::of(&pairs).unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (1.0, 1.0, 1.0));
    }

    #[test]
    fn intervals_are_those_of_the_binomial_distribution() {
        // Tables of the sign test: k - 1 is the critical value at 5 %, two-sided.
        for (rounds, expected) in [
            (1, 1),
            (5, 1),
            (6, 1),
            (8, 1),
            (9, 2),
            (12, 3),
            (20, 6),
            (25, 8),
        ] {
            assert_eq!(rank(rounds).0, expected, "{rounds} rounds");
        }
        assert_eq!(rank(1).1, 0.0);
        assert_eq!(rank(5).1, 1.0 - 2.0 / 32.0);
        assert_eq!(rank(9).1, 1.0 - 2.0 * 10.0 / 512.0);
        let pairs: Vec<(f64, f64)> = (1..=9).map(|this| (f64::from(this), 1.0)).collect();
        let ratio = Ratio::of(&pairs).unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (2.0, 5.0, 8.0));
        assert_eq!(Ratio::of(&[]), None);
    }
}
