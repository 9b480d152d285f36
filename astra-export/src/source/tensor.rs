//! Float32 values with dimensions, from whatever precision a file has.

use super::error::Mismatch;

/// How a file keeps its floats, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of an IEEE single.
    Bf16,
    /// IEEE double, of which the nearest single is taken.
    F64,
}

/// Values with dimensions, last dimension fastest; as many values as the dimensions say.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    name: String,
    dims: Vec<usize>,
    values: Vec<f32>,
}

impl Tensor {
    /// A tensor called `name`.
    ///
    /// # Errors
    /// The number of values is not that of the dimensions.
    pub fn new(name: &str, dims: Vec<usize>, values: Vec<f32>) -> Result<Self, Mismatch> {
        let expected = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
        if expected != Some(values.len()) {
            let expected = format!("as many as {dims:?} has");
            return Err(Mismatch::new(
                name,
                format!("{} values", values.len()),
                expected,
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            dims,
            values,
        })
    }

    /// A tensor from the bytes of a file.
    ///
    /// # Errors
    /// The number of bytes is not that of the dimensions.
    pub fn from_bytes(
        name: &str,
        dims: Vec<usize>,
        precision: Precision,
        bytes: &[u8],
    ) -> Result<Self, Mismatch> {
        let width = precision.width();
        if !bytes.len().is_multiple_of(width) {
            let expected = format!("a multiple of {width}");
            return Err(Mismatch::new(
                name,
                format!("{} bytes", bytes.len()),
                expected,
            ));
        }
        Self::new(name, dims, precision.decode(bytes))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Its values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Its values, if it has these dimensions.
    ///
    /// # Errors
    /// It has others.
    pub fn into_values(self, dims: &[usize]) -> Result<Vec<f32>, Mismatch> {
        if self.dims == dims {
            return Ok(self.values);
        }
        let found = format!("dimensions {:?}", self.dims);
        Err(Mismatch::new(self.name, found, format!("{dims:?}")))
    }

    /// Its dimensions, if there are `N` and none of them is 0.
    ///
    /// # Errors
    /// Otherwise; `expected` says what they should be.
    pub fn sides<const N: usize>(&self, expected: &str) -> Result<[usize; N], Mismatch> {
        match <[usize; N]>::try_from(self.dims.as_slice()) {
            Ok(sides) if !sides.contains(&0) => Ok(sides),
            _ => {
                let found = format!("dimensions {:?}", self.dims);
                Err(Mismatch::new(&self.name, found, expected))
            }
        }
    }
}

impl Precision {
    fn width(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Values of whole words.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let halves = || {
            let (pairs, _) = bytes.as_chunks();
            pairs.iter().map(|&pair| u16::from_le_bytes(pair))
        };
        match self {
            Self::F32 => {
                let (words, _) = bytes.as_chunks();
                words.iter().map(|&word| f32::from_le_bytes(word)).collect()
            }
            Self::F64 => {
                let (words, _) = bytes.as_chunks();
                let double = |&word| f64::from_le_bytes(word) as f32;
                words.iter().map(double).collect()
            }
            Self::F16 => halves().map(half_to_single).collect(),
            Self::Bf16 => halves()
                .map(|bits| f32::from_bits(u32::from(bits) << 16))
                .collect(),
        }
    }
}

/// IEEE 754 binary16 (1 sign, 5 exponent, 10 fraction bits) to binary32, exactly.
pub(super) fn half_to_single(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    match exponent {
        // Zero and subnormals: fraction times 2^-24.
        0 => {
            let magnitude = fraction as f32 * f32::from_bits(103 << 23);
            f32::from_bits(magnitude.to_bits() | sign)
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        // The biases differ by 127 - 15.
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(
                half_to_single(bits).to_bits(),
                f32::to_bits(value),
                "{bits:#x}"
            );
        }
        assert!(half_to_single(0x7e00).is_nan());
    }

    #[test]
    fn brain_floats() {
        let tensor = Tensor::from_bytes("t", vec![2], Precision::Bf16, &[0x80, 0x3f, 0, 0xc0]);
        assert_eq!(tensor.unwrap().into_values(&[2]).unwrap(), [1.0, -2.0]);
    }

    #[test]
    fn lengths_are_checked() {
        let bytes = [0; 12];
        assert!(Tensor::from_bytes("t", vec![3], Precision::F32, &bytes).is_ok());
        assert!(Tensor::from_bytes("t", vec![], Precision::F32, &bytes[..4]).is_ok());
        for (dims, bytes) in [
            (vec![3], &bytes[..11]),
            (vec![3], &bytes[..8]),
            (vec![2, 2], &bytes[..]),
            (vec![usize::MAX, 2], &bytes[..]),
        ] {
            let refused = Tensor::from_bytes("some.weight", dims, Precision::F32, bytes);
            assert_eq!(refused.unwrap_err().name, "some.weight");
        }
    }
}
