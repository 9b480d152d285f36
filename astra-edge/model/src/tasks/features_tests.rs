use proptest::prelude::*;

use super::*;

const DEPTHS: [Depth; 2] = [Depth::Four, Depth::Eight];

fn round_trip(features: &[f32], width: usize, depth: Depth) -> Vec<f32> {
    let mut bytes = Vec::new();
    quantize(features, width, depth, &mut bytes).unwrap();
    dequantize(&bytes, features.len() / width, width, depth).unwrap()
}

#[test]
fn golden_bytes() {
    let features = [-1.0, 0.0, 254.0, 7.0, 7.0, 7.0];
    let mut bytes = vec![0xa5];
    quantize(&features, 3, Depth::Eight, &mut bytes).unwrap();
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
    let seen = dequantize(&golden[1..], 2, 3, Depth::Eight);
    assert_eq!(seen.as_deref(), Ok(&features[..]));

    let features = [-1.0, -0.5, 6.5, 0.0, 0.5, 1.0, 1.5, 2.0, -1.0];
    let mut bytes = Vec::new();
    quantize(&features, 9, Depth::Four, &mut bytes).unwrap();
    #[rustfmt::skip]
    let golden = [
        0x00, 0x00, 0x80, 0xbf, // smallest: -1
        0x00, 0x00, 0x00, 0x3f, // step: 0.5
        0x10, 0x2f, 0x43, 0x65, // codes 0, 1, 15, 2, 3, 4, 5, 6, the lower half of a byte first
        0x00,                   // code 0 and padding
    ];
    assert_eq!(bytes, golden);
    let seen = dequantize(&golden, 1, 9, Depth::Four);
    assert_eq!(seen.as_deref(), Ok(&features[..]));
    let padded = [&golden[..12], &[0x10]].concat();
    let error = dequantize(&padded, 1, 9, Depth::Four).unwrap_err();
    assert!(matches!(error, FeatureError::Unpack(_)), "{error}");
}

#[test]
fn extremes_stay_finite() {
    for depth in DEPTHS {
        let huge = [f32::MAX, f32::MIN, 0.0, 1.0];
        let seen = round_trip(&huge, 4, depth);
        assert!(seen.iter().all(|value| value.is_finite()));
        assert!((seen[0] / f32::MAX - 1.0).abs() < 1e-6 && (seen[1] / f32::MIN - 1.0).abs() < 1e-6);
        let tiny = [f32::from_bits(1), f32::from_bits(3), 0.0, -0.0];
        assert_eq!(round_trip(&tiny, 4, depth), tiny);
    }
}

#[test]
fn no_tokens_take_no_bytes() {
    for depth in DEPTHS {
        assert!(round_trip(&[], 384, depth).is_empty());
        assert!(round_trip(&[], usize::MAX / 16, depth).is_empty());
    }
    assert!(read_exact(&[], 384, &mut []).is_ok());
}

#[test]
fn what_is_not_finite_is_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bytes = vec![1];
        let error = quantize(&[0.0, 1.0, 2.0, value], 2, Depth::Four, &mut bytes).unwrap_err();
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
        assert_eq!(
            quantize(&features, width, Depth::Eight, &mut bytes),
            Err(error)
        );
    }
    for (depth, width, expected) in [(Depth::Eight, 2, 20), (Depth::Four, 9, 26)] {
        for found in (0..40).filter(|length| *length != expected) {
            let error = dequantize(&vec![0; found], 2, width, depth).unwrap_err();
            let expected = FeatureError::Length {
                found,
                expected,
                tokens: 2,
                width,
            };
            assert_eq!(error, expected);
        }
        // Far more than there is memory for.
        assert!(dequantize(&[0; 20], usize::MAX / 16, width, depth).is_err());
    }
    let mut out = [0.0; 4];
    for length in (0..40).filter(|length| *length != 16) {
        assert!(read_exact(&vec![0; length], 2, &mut out).is_err());
    }
}

#[test]
fn impossible_headers_are_refused() {
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
            dequantize(&bytes, 1, 2, Depth::Eight),
            Err(FeatureError::Header { token: 0, .. })
        ));
    }
    let mut bytes = Vec::new();
    write_exact(&[f32::MAX, f32::MAX], &mut bytes);
    bytes.extend([0, 255]);
    let seen = dequantize(&bytes, 1, 2, Depth::Eight);
    assert_eq!(seen, Ok(vec![f32::MAX; 2]));
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
        for (depth, width) in [(Depth::Eight, 4), (Depth::Four, 7)] {
            if let Ok(seen) = dequantize(&bytes, 2, width, depth) {
                prop_assert_eq!(seen.len(), 2 * width);
                prop_assert!(seen.iter().all(|value| value.is_finite()));
            }
        }
    }
}

fn bounded(values: &[f32]) -> Result<(), TestCaseError> {
    for depth in DEPTHS {
        let seen = round_trip(values, values.len(), depth);
        let (_, step) = scale(values, depth);
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
    }
    Ok(())
}
