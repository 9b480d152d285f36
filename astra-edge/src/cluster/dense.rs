//! What members compute of a picture, as bytes: features of tokens, and scores of a map.

use astra_wire::{EmitError, Encoding};

use crate::tasks::features::{self, FeatureError};
use crate::tasks::scores::{self, ScoreError};

/// Bytes of a token's smallest value and step.
const SCALE: usize = 8;

/// Features or scores as they travel.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// How the bytes are to be read.
    pub encoding: Encoding,
    /// The values.
    pub values: Vec<u8>,
    /// Smallest value and step of each token, where they are scaled.
    pub scales: Vec<u8>,
}

/// The same on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Coded<'a> {
    /// How the bytes are to be read.
    pub encoding: Encoding,
    /// The values.
    pub values: &'a [u8],
    /// Smallest value and step of each token, where they are scaled.
    pub scales: &'a [u8],
}

/// Why values cannot be packed or read.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum DenseError {
    /// Features cannot be packed or read.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// Scores cannot be packed.
    #[error(transparent)]
    Scores(#[from] ScoreError),
    /// Another number of scores.
    #[error("{found} scores: expected {expected}")]
    Count {
        /// Scores there are.
        found: usize,
        /// Scores there should be.
        expected: usize,
    },
    /// An encoding that this version does not know, or not of such values.
    #[error("values in an encoding that this version does not know of them")]
    Encoding,
    /// The message cannot be written.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

impl Packed {
    /// Features of whole tokens, `[t, hidden]`: at 8 bits a channel, or as they are in exact mode.
    ///
    /// # Errors
    /// A feature is not finite, or they are no whole number of tokens.
    pub fn features(values: &[f32], hidden: usize, exact: bool) -> Result<Self, DenseError> {
        if exact {
            return Ok(Self::as_they_are(values));
        }
        let mut packed = Self {
            encoding: Encoding::Scaled8,
            values: Vec::with_capacity(values.len()),
            scales: Vec::new(),
        };
        let mut tokens = Vec::new();
        features::quantize(values, hidden, &mut tokens)?;
        for token in tokens.chunks_exact(SCALE + hidden) {
            let (scale, codes) = token.split_at_checked(SCALE).unwrap_or_default();
            packed.scales.extend_from_slice(scale);
            packed.values.extend_from_slice(codes);
        }
        Ok(packed)
    }

    /// Scores of a map: a byte each, or as they are in exact mode.
    ///
    /// # Errors
    /// A score is not a number.
    pub fn scores(values: &[f32], exact: bool) -> Result<Self, DenseError> {
        if exact {
            return Ok(Self::as_they_are(values));
        }
        Ok(Self {
            encoding: Encoding::Sigmoid8,
            values: scores::quantize(values)?,
            scales: Vec::new(),
        })
    }

    fn as_they_are(values: &[f32]) -> Self {
        let mut bytes = Vec::new();
        features::write_exact(values, &mut bytes);
        Self {
            encoding: Encoding::Float32,
            values: bytes,
            scales: Vec::new(),
        }
    }
}

impl Coded<'_> {
    /// Features of `tokens` tokens: `[tokens, hidden]`.
    ///
    /// # Errors
    /// They are of another number of tokens, or were never packed so.
    pub fn features(&self, tokens: usize, hidden: usize) -> Result<Vec<f32>, DenseError> {
        let mut features = vec![0.0; tokens * hidden];
        match self.encoding {
            Encoding::Float32 => features::read_exact(self.values, hidden, &mut features)?,
            Encoding::Scaled8 => {
                features::dequantize(&self.joined(hidden), hidden, &mut features)?;
            }
            _ => return Err(DenseError::Encoding),
        }
        Ok(features)
    }

    /// `count` scores.
    ///
    /// # Errors
    /// They are of another number.
    pub fn scores(&self, count: usize) -> Result<Vec<f32>, DenseError> {
        let scores: Vec<f32> = match self.encoding {
            Encoding::Float32 => {
                let (values, _) = self.values.as_chunks();
                values
                    .iter()
                    .map(|bytes| f32::from_le_bytes(*bytes))
                    .collect()
            }
            Encoding::Sigmoid8 => scores::dequantize(self.values),
            _ => return Err(DenseError::Encoding),
        };
        if scores.len() != count {
            return Err(DenseError::Count {
                found: scores.len(),
                expected: count,
            });
        }
        Ok(scores)
    }

    /// Tokens that the features are of, if they are features of tokens `hidden` wide.
    pub fn tokens(&self, hidden: usize) -> usize {
        match self.encoding {
            Encoding::Float32 => self.values.len() / (hidden * 4).max(1),
            _ => self.scales.len() / SCALE,
        }
    }

    /// What `features` reads: each token's scale before its codes. What has no partner stays out, and the length then says so.
    fn joined(&self, hidden: usize) -> Vec<u8> {
        let scales = self.scales.chunks_exact(SCALE);
        let codes = self.values.chunks_exact(hidden.max(1));
        let mut tokens = Vec::with_capacity(scales.len() * (SCALE + hidden));
        for (scale, codes) in scales.zip(codes) {
            tokens.extend_from_slice(scale);
            tokens.extend_from_slice(codes);
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: [f32; 6] = [0.0, 1.0, -3.0, 5.0, 7.0, 7.0];

    fn coded(packed: &Packed) -> Coded<'_> {
        Coded {
            encoding: packed.encoding,
            values: &packed.values,
            scales: &packed.scales,
        }
    }

    #[test]
    fn exact_values_come_back_bit_for_bit() {
        let packed = Packed::features(&FEATURES, 2, true).unwrap();
        assert_eq!(coded(&packed).tokens(2), 3);
        assert_eq!(coded(&packed).features(3, 2).unwrap(), FEATURES);
        let packed = Packed::scores(&FEATURES, true).unwrap();
        assert_eq!(coded(&packed).scores(6).unwrap(), FEATURES);
    }

    #[test]
    fn features_come_back_within_half_a_step() {
        let packed = Packed::features(&FEATURES, 2, false).unwrap();
        assert_eq!((packed.values.len(), coded(&packed).tokens(2)), (6, 3));
        let back = coded(&packed).features(3, 2).unwrap();
        for (found, sent) in back.iter().zip(FEATURES) {
            assert!(
                (found - sent).abs() <= 8.0 / 255.0 / 2.0 + 1e-5,
                "{found} for {sent}"
            );
        }
    }

    #[test]
    fn scores_take_a_byte_each() {
        let packed = Packed::scores(&FEATURES, false).unwrap();
        assert_eq!(packed.values.len(), 6);
        let back = coded(&packed).scores(6).unwrap();
        assert!((back[1] - 1.0).abs() < 0.02, "{back:?}");
    }

    #[test]
    fn another_number_or_kind_of_values_is_refused() {
        for exact in [false, true] {
            let features = Packed::features(&FEATURES, 2, exact).unwrap();
            assert!(coded(&features).features(2, 2).is_err());
            let scores = Packed::scores(&FEATURES, exact).unwrap();
            assert!(coded(&scores).scores(5).is_err());
        }
        let scores = Packed::scores(&FEATURES, false).unwrap();
        let refused = coded(&scores).features(3, 2);
        assert_eq!(refused, Err(DenseError::Encoding));
        let features = Packed::features(&FEATURES, 2, false).unwrap();
        assert_eq!(coded(&features).scores(6), Err(DenseError::Encoding));
    }
}
