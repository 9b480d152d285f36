//! The interval of a mean.

use std::f64::consts::FRAC_PI_2;

use astra_bundle::{Quality, QualityMeasure};

/// A mean with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The interval `m ± t s / sqrt(n)` of the mean m of n figures: s is their standard deviation (with n - 1), t the 0.975
    /// quantile of Student's distribution with n - 1 degrees of freedom. `None` for fewer than two figures, or for one that is
    /// not finite.
    ///
    /// Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.2, "Confidence Limits for the Mean".
    pub fn of_mean(figures: &[f64]) -> Option<Self> {
        let freedom = figures
            .len()
            .checked_sub(1)
            .filter(|&freedom| freedom > 0)?;
        let count = figures.len() as f64;
        let mean = figures.iter().sum::<f64>() / count;
        let squares = figures.iter().map(|figure| (figure - mean).powi(2));
        let deviation = (squares.sum::<f64>() / freedom as f64).sqrt();
        let half = student(freedom) * deviation / count.sqrt();
        let interval = Self {
            mean,
            low: mean - half,
            high: mean + half,
        };
        (interval.low.is_finite() && interval.high.is_finite()).then_some(interval)
    }

    /// The same of a measure whose scores are given, one an input. Those of [`QualityMeasure::PerplexityIncrease`] are differences
    /// of the mean negative logarithm of a token's probability, so that the exponential of their mean is the ratio of the
    /// perplexities of texts of one length.
    pub(super) fn quality(measure: QualityMeasure, scores: &[f64]) -> Option<Quality> {
        let Self { mean, low, high } = Self::of_mean(scores)?;
        let [mean, low, high] = [mean, low, high].map(|value| match measure.is_loss() {
            true => value.exp_m1(),
            // No cosine is larger.
            false => value.min(1.0),
        });
        Some(Quality {
            measure,
            mean,
            low,
            high,
        })
    }
}

/// The 0.975 quantile of Student's distribution, to 0.1 %.
///
/// Source: closed forms for one and two degrees of freedom, the handbook's table (1.3.6.7.2) for three; from four on the expansion
/// about the normal distribution, Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
fn student(freedom: usize) -> f64 {
    /// The same of the normal distribution.
    const NORMAL: f64 = 1.959_963_984_540_054;
    const P: f64 = 0.975;
    let z = NORMAL;
    let n = freedom as f64;
    match freedom {
        0 => f64::INFINITY,
        1 => (FRAC_PI_2 * (2.0 * P - 1.0)).tan(),
        2 => (2.0 * P - 1.0) * (2.0 / (4.0 * P * (1.0 - P))).sqrt(),
        3 => 3.182_446,
        _ => {
            let terms = [
                (z.powi(3) + z) / 4.0,
                (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
                (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
                (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5)
                    - 1920.0 * z.powi(3)
                    - 945.0 * z)
                    / 92_160.0,
            ];
            // By Horner's rule, from the highest power of 1 / n.
            z + terms.iter().rev().fold(0.0, |sum, term| (sum + term) / n)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() < within, "{found}, not {expected}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let table = [
            (1, 12.7062),
            (2, 4.3027),
            (3, 3.1824),
            (4, 2.7764),
            (5, 2.5706),
            (7, 2.3646),
            (10, 2.2281),
            (14, 2.1448),
            (30, 2.0423),
            (120, 1.9799),
        ];
        for (freedom, expected) in table {
            near(student(freedom), expected, expected * 1e-3);
        }
    }

    #[test]
    fn an_interval_by_hand() {
        // Mean 5, standard deviation 2.138090, so 5 ± 2.364624 x 2.138090 / sqrt(8).
        let figures = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        let found = Interval::of_mean(&figures).unwrap();
        near(found.mean, 5.0, 1e-12);
        near(found.low, 3.212_511, 1e-3);
        near(found.high, 6.787_489, 1e-3);
    }

    #[test]
    fn one_figure_has_no_interval() {
        assert_eq!(Interval::of_mean(&[]), None);
        assert_eq!(Interval::of_mean(&[0.9]), None);
        assert_eq!(Interval::of_mean(&[0.9, f64::NAN]), None);
        let same = Interval::of_mean(&[0.5, 0.5]).unwrap();
        assert_eq!((same.mean, same.low, same.high), (0.5, 0.5, 0.5));
    }

    #[test]
    fn perplexities_are_compared_by_their_ratio() {
        let scores = [1.10_f64.ln(), 1.10_f64.ln(), 1.10_f64.ln()];
        let found = Interval::quality(QualityMeasure::PerplexityIncrease, &scores).unwrap();
        for value in [found.mean, found.low, found.high] {
            near(value, 0.10, 1e-9);
        }
        assert!(found.low <= found.mean && found.mean <= found.high);
    }

    #[test]
    fn no_cosine_exceeds_one() {
        let found = Interval::quality(QualityMeasure::ClsCosine, &[1.0, 0.99]).unwrap();
        assert_eq!(found.high, 1.0);
        assert!(found.low < 0.99);
    }
}
