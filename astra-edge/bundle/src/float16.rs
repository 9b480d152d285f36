//! float16 (IEEE 754 binary16), the type that the tables of the codec are stored in.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use crate::error::Invalid;

/// Rounds each value to the nearest float16, ties to even: what a reader finds after the values were written as float16. A value
/// beyond 65,504 becomes infinite; the writer refuses it.
pub fn round_to_f16(values: &mut [f32]) {
    for value in values {
        *value = f16::from_f32(*value).to_f32();
    }
}

/// Their bits as float16; refuses what float16 has no finite number for. `field` names the values for the error.
pub(crate) fn encode(field: &str, values: &[f32]) -> Result<Vec<u16>, Invalid> {
    let mut bits = vec![0; values.len()];
    bits.reinterpret_cast_mut::<f16>()
        .convert_from_f32_slice(values);
    let infinite = |(_, bits): &(&f32, &u16)| !f16::from_bits(**bits).is_finite();
    match values.iter().zip(&bits).find(infinite) {
        None => Ok(bits),
        Some((value, _)) if value.is_finite() => Err(Invalid::new(
            field,
            value,
            format!("-{0} to {0}, the range of float16", f16::MAX),
        )),
        Some((value, _)) => Err(Invalid::new(field, value, "finite numbers")),
    }
}

/// The first of these that is infinite or no number.
pub(crate) fn first_infinite(bits: &[u16]) -> Option<f16> {
    let values: &[f16] = bits.reinterpret_cast();
    values.iter().copied().find(|value| !value.is_finite())
}

/// The values of these bits.
pub(crate) fn decode(bits: &[u16]) -> Vec<f32> {
    let values: &[f16] = bits.reinterpret_cast();
    values.to_f32_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every float16, and what lies between.
    #[test]
    fn rounding_is_what_is_written_and_read() {
        let finite = |bits: &u16| f16::from_bits(*bits).is_finite();
        let bits: Vec<u16> = (0..=u16::MAX).filter(finite).collect();
        let mut values = decode(&bits);
        assert_eq!(encode("x", &values).unwrap(), bits);
        let stored = values.clone();
        round_to_f16(&mut values);
        assert_eq!(values, stored, "a float16 is itself");

        for factor in [1.0001, 1.000_488_3, 1.0003] {
            let between: Vec<f32> = stored.iter().map(|x| x * factor).collect();
            let between: Vec<f32> = between.into_iter().filter(|x| x.abs() < 65_504.0).collect();
            let mut rounded = between.clone();
            round_to_f16(&mut rounded);
            assert_eq!(decode(&encode("x", &between).unwrap()), rounded);
        }
    }

    #[test]
    fn what_float16_cannot_hold_is_refused() {
        assert_eq!(decode(&encode("x", &[65_519.0]).unwrap()), [65_504.0]);
        for (value, found, expected) in [
            (65_520.0, "65520", "-65504 to 65504, the range of float16"),
            (-1e9, "-1000000000", "-65504 to 65504, the range of float16"),
            (f32::INFINITY, "inf", "finite numbers"),
            (f32::NAN, "NaN", "finite numbers"),
        ] {
            let invalid = encode("x", &[0.0, value]).unwrap_err();
            assert_eq!((&*invalid.found, &*invalid.expected), (found, expected));
        }
    }
}
