use proptest::prelude::*;

use super::*;

fn round_trip(features: &[f32], width: usize) -> Vec<f32> {
    let mut bytes = Vec::new();
    quantize(features, width, &mut bytes).unwrap();
    let mut seen = vec![f32::NAN; features.len()];
    dequantize(&bytes, width, &mut seen).unwrap();
    seen
}

#[test]
fn golden_bytes() {
    let mut bytes = vec![0xa5];
    quantize(&[-1.0, 0.0, 254.0, 7.0, 7.0, 7.0], 3, &mut bytes).unwrap();
    #[rustfmt::skip]
    let golden = [
        0xa5,                   // what was there before
        0x00, 0x00, 0x80, 0xbf, // smallest of token 0: -1
        0x00, 0x00, 0x80, 0x3f, // step: 1
        0, 1, 255,              // codes
        0x00, 0x00, 0xe0, 0x40, // smallest of token 1: 7
        0x00, 0x00, 0x00, 0x00, // step: all values are the same
        0, 0, 0,
    ];
    assert_eq!(bytes, golden);
    let mut seen = [0.0; 6];
    dequantize(&golden[1..], 3, &mut seen).unwrap();
    assert_eq!(seen, [-1.0, 0.0, 254.0, 7.0, 7.0, 7.0]);
}

#[test]
fn extremes_stay_finite() {
    let huge = [f32::MAX, f32::MIN, 0.0, 1.0];
    let seen = round_trip(&huge, 4);
    assert!(seen.iter().all(|value| value.is_finite()));
    assert!((seen[0] / f32::MAX - 1.0).abs() < 1e-6 && (seen[1] / f32::MIN - 1.0).abs() < 1e-6);
    let tiny = [f32::from_bits(1), f32::from_bits(3), 0.0, -0.0];
    assert_eq!(round_trip(&tiny, 4), tiny);
}

#[test]
fn no_tokens_take_no_bytes() {
    assert!(round_trip(&[], 384).is_empty());
    assert!(read_exact(&[], 384, &mut []).is_ok());
}

#[test]
fn what_is_not_finite_is_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bytes = vec![1];
        let error = quantize(&[0.0, 1.0, 2.0, value], 2, &mut bytes).unwrap_err();
        assert!(
            matches!(
                error,
                FeatureError::NotFinite {
                    token: 1,
                    channel: 1,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(bytes, [1]);
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let mut bytes = Vec::new();
    for (values, width) in [(5, 2), (1, 0), (0, 0), (3, usize::MAX)] {
        let features = vec![0.0; values];
        let error = FeatureError::Width {
            found: values,
            width,
        };
        assert_eq!(quantize(&features, width, &mut bytes), Err(error));
    }
    let mut out = [0.0; 4];
    for length in (0..40).filter(|length| *length != 20) {
        let error = dequantize(&vec![0; length], 2, &mut out).unwrap_err();
        let expected = FeatureError::Length {
            found: length,
            expected: 20,
            tokens: 2,
            width: 2,
        };
        assert_eq!(error, expected);
    }
    for length in (0..40).filter(|length| *length != 16) {
        assert!(read_exact(&vec![0; length], 2, &mut out).is_err());
    }
}

#[test]
fn impossible_headers_are_refused() {
    let mut out = [0.0; 2];
    for (smallest, step) in [
        (f32::NAN, 1.0),
        (0.0, f32::INFINITY),
        (0.0, -1.0),
        (f32::NEG_INFINITY, 0.0),
    ] {
        let mut bytes = Vec::new();
        write_exact(&[smallest, step], &mut bytes);
        bytes.extend([0, 1]);
        assert!(matches!(
            dequantize(&bytes, 2, &mut out),
            Err(FeatureError::Header { token: 0, .. })
        ));
    }
    let mut bytes = Vec::new();
    write_exact(&[f32::MAX, f32::MAX], &mut bytes);
    bytes.extend([0, 255]);
    dequantize(&bytes, 2, &mut out).unwrap();
    assert_eq!(out, [f32::MAX; 2]);
}

#[test]
fn exact_keeps_every_bit() {
    let features = [
        0.1,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::from_bits(1),
        f32::from_bits(0x7f80_0001),
    ];
    let mut bytes = Vec::new();
    write_exact(&features, &mut bytes);
    assert_eq!(bytes.len(), 24);
    assert_eq!(bytes[..4], [0xcd, 0xcc, 0xcc, 0x3d]); // 0.1
    let mut seen = [9.0; 6];
    read_exact(&bytes, 3, &mut seen).unwrap();
    assert_eq!(seen.map(f32::to_bits), features.map(f32::to_bits));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn error_is_at_most_half_a_step(
        values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 1..40),
    ) {
        bounded(&values)?;
    }

    /// Values close together, far from zero: where rounding of the result is largest against the step.
    #[test]
    fn error_is_bounded_far_from_zero(centre in -1e6f32..1e6, values in prop::collection::vec(-1.0f32..1.0, 1..40)) {
        bounded(&values.iter().map(|value| centre + value).collect::<Vec<_>>())?;
    }

    #[test]
    fn any_bytes_are_an_error_or_finite(bytes in prop::collection::vec(any::<u8>(), 24)) {
        let mut out = [0.0; 8];
        if dequantize(&bytes, 4, &mut out).is_ok() {
            prop_assert!(out.iter().all(|value| value.is_finite()));
        }
    }
}

fn bounded(values: &[f32]) -> Result<(), TestCaseError> {
    let seen = round_trip(values, values.len());
    let (_, step) = line(values);
    for (value, seen) in values.iter().zip(&seen) {
        let error = (f64::from(*value) - f64::from(*seen)).abs();
        let ulp = f64::from(seen.abs().next_up()) - f64::from(seen.abs());
        let bound = f64::from(step) / 2.0 + ulp.min(f64::from(f32::MAX)) / 2.0;
        prop_assert!(
            error <= bound,
            "{} came back as {}, step {}",
            value,
            seen,
            step
        );
    }
    Ok(())
}
