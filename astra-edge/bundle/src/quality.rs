//! The measure that decides about a rung.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A measure with its confidence interval. It is displayed as `0.9921 (0.9903 to 0.9938)`, an increase of perplexity as
/// `+0.31 % (+0.20 % to +0.42 %)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// What was measured of each input.
    pub measure: QualityMeasure,
    /// Mean over the inputs.
    pub mean: f64,
    /// Lower end of the 95 % interval of the mean.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// What a [`Quality`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityMeasure {
    /// Cosine of the class token's feature.
    ClsCosine,
    /// Cosine of the patch features, mean over patches: of models without a class token.
    PatchCosine,
    /// Cosine of the text's embedding.
    EmbeddingCosine,
    /// Perplexity over that on one device, minus 1.
    PerplexityIncrease,
}

impl Quality {
    /// The end of the interval at which the answer is less like the one-device answer.
    pub fn worst(&self) -> f64 {
        match self.measure.is_loss() {
            true => self.high,
            false => self.low,
        }
    }

    /// Whether the mean is the better one; both are of one measure.
    pub fn is_better_than(&self, other: &Self) -> bool {
        match self.measure.is_loss() {
            true => self.mean < other.mean,
            false => self.mean > other.mean,
        }
    }

    /// The interval alone: `0.9903 to 0.9938`.
    pub fn interval(&self) -> String {
        let [low, high] = [self.low, self.high].map(|value| self.measure.figure(value));
        format!("{low} to {high}")
    }
}

impl QualityMeasure {
    /// Whether less is better.
    pub fn is_loss(self) -> bool {
        self == Self::PerplexityIncrease
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClsCosine => "class token cosine",
            Self::PatchCosine => "patch cosine",
            Self::EmbeddingCosine => "embedding cosine",
            Self::PerplexityIncrease => "perplexity",
        }
    }

    /// A value of it, for people: `0.9921`, or `+0.31 %`.
    pub fn figure(self, value: f64) -> String {
        match self.is_loss() {
            true => format!("{:+.2} %", 100.0 * value),
            false => format!("{value:.4}"),
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = self.measure.figure(self.mean);
        write!(f, "{mean} ({})", self.interval())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_figures_with_their_interval() {
        let cosine = Quality {
            measure: QualityMeasure::ClsCosine,
            mean: 0.992_14,
            low: 0.9903,
            high: 0.9938,
        };
        assert_eq!(cosine.to_string(), "0.9921 (0.9903 to 0.9938)");
        assert_eq!(cosine.worst(), 0.9903);
        let increase = Quality {
            measure: QualityMeasure::PerplexityIncrease,
            mean: 0.0031,
            low: -0.002,
            high: 0.0042,
        };
        assert_eq!(increase.to_string(), "+0.31 % (-0.20 % to +0.42 %)");
        assert_eq!(increase.worst(), 0.0042);
    }
}
