//! Quantization of a map's scores to bytes.
//!
//! The map is the sigmoid of the scores, so a score x is quantized to ⌊256 σ(x)⌋, and dequantized to the x whose sigmoid is the middle of
//! that step: the error of the map is at most 1/512.

/// A score is not a number.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("score {index}: found {value}, expected a number")]
pub struct ScoreError {
    /// Index of the score.
    pub index: usize,
    /// Its value.
    pub value: f32,
}

/// One byte per score.
///
/// # Errors
/// A score is NaN: the model has failed.
pub fn quantize(scores: &[f32]) -> Result<Vec<u8>, ScoreError> {
    if let Some((index, &value)) = scores.iter().enumerate().find(|(_, x)| x.is_nan()) {
        return Err(ScoreError { index, value });
    }
    // `as` saturates.
    let byte = |x: &f32| (256.0 / (1.0 + (-x).exp())) as u8;
    Ok(scores.iter().map(byte).collect())
}

/// Scores of [`quantize`]d bytes.
pub fn dequantize(bytes: &[u8]) -> Vec<f32> {
    let table: Vec<f32> = (0..=255_u8)
        .map(|byte| (f32::from(byte) + 0.5) / 256.0)
        .map(|middle| (middle / (1.0 - middle)).ln())
        .collect();
    let score = |&byte: &u8| table.get(usize::from(byte)).copied().unwrap_or_default();
    bytes.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sigmoid(x: f32) -> f32 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn the_error_of_the_map_is_half_a_step() {
        let scores: Vec<f32> = (-2000..=2000).map(|i| i as f32 / 100.0).collect();
        let bytes = quantize(&scores).unwrap();
        assert_eq!((bytes[0], bytes[4000]), (0, 255));
        for (back, score) in dequantize(&bytes).into_iter().zip(scores) {
            let error = (sigmoid(back) - sigmoid(score)).abs();
            assert!(error <= 1.0 / 512.0 + 1e-6, "{score}: {error}");
        }
    }

    #[test]
    fn infinite_scores_are_quantized_and_nan_is_refused() {
        let infinite = [f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(quantize(&infinite).unwrap(), [255, 0]);
        let error = quantize(&[1.0, f32::NAN]).unwrap_err();
        assert_eq!(error.index, 1);
    }
}
