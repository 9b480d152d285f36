//! Features of tokens and scores of a map, as bytes.

use astra_wire::{EmitError, Encoding};

use astra_model::tasks::features::{self, Depth, FeatureError, HEADER};
use astra_model::tasks::lossless::{self, Lines, LosslessError};
use astra_model::tasks::scores::{self, ScoreError};

/// Encoded features or scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// How the values are encoded.
    pub encoding: Encoding,
    /// The values.
    pub values: Vec<u8>,
    /// Smallest value and step of each token, where they are scaled.
    pub scales: Vec<u8>,
}

/// Encoded features or scores of a received message.
#[derive(Clone, Copy, Debug)]
pub struct Coded<'a> {
    /// How the values are encoded.
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
    /// Scores are not those that were compressed.
    #[error(transparent)]
    Lossless(#[from] LosslessError),
    /// The number of scores is not the expected one.
    #[error("scores: found {found}, expected {expected}")]
    Count {
        /// Scores found.
        found: usize,
        /// Scores expected.
        expected: usize,
    },
    /// An encoding that this version does not know, or one of other values.
    #[error("encoding of values: found one that this version does not know for them")]
    Encoding,
    /// The message cannot be written.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

impl Packed {
    /// Features of whole tokens, `[t, hidden]`: at 8 bits a channel, or as they are in exact mode.
    ///
    /// # Errors
    /// A feature is not finite, or the number of features is not a multiple of `hidden`.
    pub fn features(values: &[f32], hidden: usize, exact: bool) -> Result<Self, DenseError> {
        match exact {
            true => Ok(Self::as_they_are(values)),
            false => Self::scaled(values, hidden, Depth::Eight),
        }
    }

    /// Features of halo tokens, which other members need to score their own rows: at 4 bits a channel.
    ///
    /// The mean error of the map against one device's, beside that with 8 bits, on 24 photographs (DINOv2 ViT-S/14, 4 devices, 320 bits
    /// per token per block):
    ///
    /// | | all | worst photograph |
    /// |---|---|---|
    /// | 518 pixels, halos of 2 rows, 4 bits | -0.0 % | +0.5 % |
    /// | 3 bits | +0.2 % | +1.9 % |
    /// | 224 pixels, halos of 1 row, 4 bits | +0.3 % | +3.0 % |
    /// | 3 bits | +0.9 % | +10 % |
    ///
    /// # Errors
    /// As for [`features`](Self::features).
    pub fn halo(values: &[f32], hidden: usize, exact: bool) -> Result<Self, DenseError> {
        match exact {
            true => Ok(Self::as_they_are(values)),
            false => Self::scaled(values, hidden, Depth::Four),
        }
    }

    fn scaled(values: &[f32], hidden: usize, depth: Depth) -> Result<Self, DenseError> {
        let mut tokens = Vec::new();
        features::quantize(values, hidden, depth, &mut tokens)?;
        let mut packed = Self {
            encoding: match depth {
                Depth::Four => Encoding::Scaled4,
                Depth::Eight => Encoding::Scaled8,
            },
            values: Vec::with_capacity(tokens.len()),
            scales: Vec::new(),
        };
        for token in tokens.chunks_exact(token_bytes(hidden, depth)) {
            let (scale, codes) = token.split_at_checked(HEADER).unwrap_or_default();
            packed.scales.extend_from_slice(scale);
            packed.values.extend_from_slice(codes);
        }
        Ok(packed)
    }

    /// Scores of a map: a byte each, compressed where that is shorter, or float32 in exact mode.
    ///
    /// # Errors
    /// A score is not a number.
    pub fn scores(values: &[f32], lines: Lines, exact: bool) -> Result<Self, DenseError> {
        if exact {
            return Ok(Self::as_they_are(values));
        }
        let bytes = scores::quantize(values)?;
        let (encoding, values) = match lossless::compress(&bytes, lines) {
            Some(packed) => (Encoding::Sigmoid8Deflated, packed),
            None => (Encoding::Sigmoid8, bytes),
        };
        Ok(Self {
            encoding,
            values,
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
    /// The number of tokens or the encoding is another.
    pub fn features(&self, tokens: usize, hidden: usize) -> Result<Vec<f32>, DenseError> {
        let depth = match self.encoding {
            Encoding::Float32 => {
                let mut features = vec![0.0; tokens * hidden];
                features::read_exact(self.values, hidden, &mut features)?;
                return Ok(features);
            }
            Encoding::Scaled4 => Depth::Four,
            Encoding::Scaled8 => Depth::Eight,
            _ => return Err(DenseError::Encoding),
        };
        let joined = self.joined(hidden, depth);
        Ok(features::dequantize(&joined, tokens, hidden, depth)?)
    }

    /// `count` scores of a map.
    ///
    /// # Errors
    /// The number of scores or the encoding is another.
    pub fn scores(&self, count: usize, lines: Lines) -> Result<Vec<f32>, DenseError> {
        let scores: Vec<f32> = match self.encoding {
            Encoding::Float32 => {
                let (values, _) = self.values.as_chunks();
                values
                    .iter()
                    .map(|bytes| f32::from_le_bytes(*bytes))
                    .collect()
            }
            Encoding::Sigmoid8 => scores::dequantize(self.values),
            Encoding::Sigmoid8Deflated => {
                scores::dequantize(&lossless::decompress(self.values, lines, count)?)
            }
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

    /// Number of tokens, if the values are features of tokens `hidden` wide.
    pub fn tokens(&self, hidden: usize) -> usize {
        match self.encoding {
            Encoding::Float32 => self.values.len() / (hidden * 4).max(1),
            _ => self.scales.len() / HEADER,
        }
    }

    /// The layout that `features` reads: each token's scale before its codes. A scale without codes is left out, so that the length
    /// check fails.
    fn joined(&self, hidden: usize, depth: Depth) -> Vec<u8> {
        let scales = self.scales.chunks_exact(HEADER);
        let codes = token_bytes(hidden, depth).saturating_sub(HEADER);
        let codes = self.values.chunks_exact(codes.max(1));
        let mut tokens = Vec::with_capacity(self.scales.len() + self.values.len());
        for (scale, codes) in scales.zip(codes) {
            tokens.extend_from_slice(scale);
            tokens.extend_from_slice(codes);
        }
        tokens
    }
}

/// Bytes of a token: its scale, and its codes.
fn token_bytes(hidden: usize, depth: Depth) -> usize {
    features::quantized_bytes(1, hidden, depth).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: Lines = Lines {
        columns: 3,
        patch: 1,
    };
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
        assert_eq!(Packed::halo(&FEATURES, 2, true).unwrap(), packed);
        let packed = Packed::scores(&FEATURES, LINES, true).unwrap();
        assert_eq!(coded(&packed).scores(6, LINES).unwrap(), FEATURES);
    }

    #[test]
    fn features_come_back_within_half_a_step() {
        let eight = Packed::features(&FEATURES, 2, false).unwrap();
        let four = Packed::halo(&FEATURES, 2, false).unwrap();
        for (packed, bytes, steps) in [(eight, 6, 255.0), (four, 3, 15.0)] {
            assert_eq!((packed.values.len(), coded(&packed).tokens(2)), (bytes, 3));
            let back = coded(&packed).features(3, 2).unwrap();
            for (found, sent) in back.iter().zip(FEATURES) {
                assert!(
                    (found - sent).abs() <= 8.0 / steps / 2.0 + 1e-5,
                    "{found} for {sent}"
                );
            }
        }
    }

    #[test]
    fn scores_take_a_byte_each_or_less() {
        let packed = Packed::scores(&FEATURES, LINES, false).unwrap();
        assert_eq!(packed.encoding, Encoding::Sigmoid8);
        assert_eq!(packed.values.len(), 6);
        let back = coded(&packed).scores(6, LINES).unwrap();
        assert!((back[1] - 1.0).abs() < 0.02, "{back:?}");

        let even = [1.0; 300];
        let packed = Packed::scores(&even, LINES, false).unwrap();
        assert_eq!(packed.encoding, Encoding::Sigmoid8Deflated);
        assert!(packed.values.len() < 100, "{}", packed.values.len());
        let back = coded(&packed).scores(300, LINES).unwrap();
        assert!(back.iter().all(|x| (x - 1.0).abs() < 0.02), "{back:?}");
        let refused = coded(&packed).scores(299, LINES);
        assert!(matches!(refused, Err(DenseError::Lossless(_))));
    }

    #[test]
    fn another_number_or_kind_of_values_is_refused() {
        for exact in [false, true] {
            for packed in [Packed::features, Packed::halo] {
                let features = packed(&FEATURES, 2, exact).unwrap();
                assert!(coded(&features).features(2, 2).is_err());
            }
            let scores = Packed::scores(&FEATURES, LINES, exact).unwrap();
            assert!(coded(&scores).scores(5, LINES).is_err());
        }
        let scores = Packed::scores(&FEATURES, LINES, false).unwrap();
        let refused = coded(&scores).features(3, 2);
        assert_eq!(refused, Err(DenseError::Encoding));
        let features = Packed::features(&FEATURES, 2, false).unwrap();
        let refused = coded(&features).scores(6, LINES);
        assert_eq!(refused, Err(DenseError::Encoding));
    }

    #[test]
    fn scales_without_their_codes_are_refused_before_anything_is_made_of_them() {
        let scales = vec![0; 8 * 1000];
        let halo = Coded {
            encoding: Encoding::Scaled4,
            values: &[0; 1000],
            scales: &scales,
        };
        let refused = halo.features(halo.tokens(384), 384);
        assert!(matches!(
            refused,
            Err(DenseError::Features(FeatureError::Length { .. }))
        ));
    }
}
