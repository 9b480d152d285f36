//! Means of frames against a slow model of what is packed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use astra_codec::{LengthError, MAX_MEAN_BITS, MeanError, MeanQuantizer, UNIFORM_STEPS};
use proptest::prelude::*;

/// Gains in ascending order, from their formula.
fn gains() -> Vec<f64> {
    let gain = |code: i32| (1.0 + f64::from(code % 16) / 16.0) * 2_f64.powi(code / 16 - 8);
    (0..256).map(gain).collect()
}

/// The gain's code, and each axis's code, counted from 0, of a mean of numbers.
fn slow(bits: &[u8], steps: &[f32], mean: &[f32]) -> (u8, Vec<u32>) {
    let sent = || (0..bits.len()).filter(|&axis| bits[axis] > 0);
    let ratio = |axis: usize| {
        f64::from(mean[axis]) / f64::from(steps[axis])
            * f64::from(UNIFORM_STEPS[usize::from(bits[axis]) - 1])
    };
    let square = sent().map(|axis| ratio(axis).powi(2)).sum::<f64>() / sent().count().max(1) as f64;
    // A little less, so that rounding in single precision decides nothing.
    let enough = |gain: &f64| gain * gain >= square;
    let gain = gains().iter().position(enough).unwrap_or(255);
    let code = |axis: usize| {
        let half = f64::from(1 << (bits[axis] - 1));
        let code = (f64::from(mean[axis]) / (gains()[gain] * f64::from(steps[axis]))).floor();
        (code.clamp(-half, half - 1.0) + half) as u32
    };
    (gain as u8, sent().map(code).collect())
}

/// Bit by bit, lowest first, to a whole byte.
fn pack(bits: &[u8], gain: u8, codes: &[u32]) -> Vec<u8> {
    let widths = bits.iter().filter(|&&bits| bits > 0);
    let all: Vec<bool> = widths
        .zip(codes)
        .flat_map(|(&width, code)| (0..width).map(move |bit| code >> bit & 1 == 1))
        .collect();
    let byte = |bits: &[bool]| (0..bits.len()).map(|bit| u8::from(bits[bit]) << bit).sum();
    std::iter::once(gain)
        .chain(all.chunks(8).map(byte))
        .collect()
}

fn axes() -> impl Strategy<Value = Vec<(u8, f32, f32)>> {
    let step = prop_oneof![0.01_f32..2.0, 1e-5_f32..1e-3, 10_f32..300.0];
    let mean = prop_oneof![-3_f32..3.0, Just(0.0), -300_f32..300.0];
    prop::collection::vec((0..=MAX_MEAN_BITS, step, mean), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_packed_is_that_of_the_model(axes in axes()) {
        let bits: Vec<u8> = axes.iter().map(|axis| axis.0).collect();
        let steps: Vec<f32> = axes.iter().map(|axis| axis.1).collect();
        let mean: Vec<f32> = axes.iter().map(|axis| axis.2).collect();
        let quantizer = MeanQuantizer::new(&bits, &steps).unwrap();
        let mut packed = vec![0xa5; quantizer.packed_len()];
        let mut values = mean.clone();
        quantizer.encode(&mut values, &mut packed).unwrap();
        let (gain, codes) = slow(&bits, &steps, &mean);
        // The model's gain, or one beside it where rounding decides.
        prop_assert!(packed[0].abs_diff(gain) <= 1);
        if packed[0] == gain {
            let found = unpacked(&bits, &packed);
            for (found, expected) in found.iter().zip(&codes) {
                prop_assert!(found.abs_diff(*expected) <= 1, "{found} and {expected}");
            }
            prop_assert_eq!(&packed, &pack(&bits, gain, &found));
        }
        let gain = gains()[usize::from(packed[0])];
        for axis in 0..bits.len() {
            if bits[axis] == 0 {
                prop_assert_eq!(values[axis], 0.0);
                continue;
            }
            // Within half a step, but for means beyond the last code.
            let step = gain * f64::from(steps[axis]);
            let most = step * f64::from(1 << (bits[axis] - 1));
            let within = f64::from(mean[axis]).clamp(-most, most);
            let error = (within - f64::from(values[axis])).abs();
            prop_assert!(error <= step * 0.501 + 1e-6 * most, "{error} of {step}");
        }
        let mut read = vec![f32::NAN; bits.len()];
        quantizer.decode(packed.iter().copied(), &mut read).unwrap();
        prop_assert_eq!(read, values);
    }

    #[test]
    fn any_bytes_are_some_mean(
        bits in prop::collection::vec(0..=MAX_MEAN_BITS, 1..40),
        bytes in prop::collection::vec(any::<u8>(), 400),
    ) {
        let steps = vec![1.0; bits.len()];
        let quantizer = MeanQuantizer::new(&bits, &steps).unwrap();
        let packed = &bytes[..quantizer.packed_len()];
        let mut mean = vec![f32::NAN; bits.len()];
        quantizer.decode(packed.iter().copied(), &mut mean).unwrap();
        prop_assert!(mean.iter().all(|mean| mean.abs() <= 128.0 * 248.0));
        prop_assert_eq!(pack(&bits, packed[0], &unpacked(&bits, packed)).len(), packed.len());
    }
}

/// The codes of the axes that are sent.
fn unpacked(bits: &[u8], packed: &[u8]) -> Vec<u32> {
    let mut at = 8;
    let mut next = |width: u8| {
        let bit = |i: usize| u32::from(packed[i / 8] >> (i % 8) & 1);
        let code = (0..usize::from(width)).map(|i| bit(at + i) << i).sum();
        at += usize::from(width);
        code
    };
    bits.iter()
        .filter(|&&bits| bits > 0)
        .map(|&width| next(width))
        .collect()
}

#[test]
fn the_bytes_of_a_mean_are_fixed() {
    let (bits, steps) = ([2, 0, 8, 1, 3], [0.9957, 5.0, 0.03076, 1.5958, 0.586]);
    let quantizer = MeanQuantizer::new(&bits, &steps).unwrap();
    assert_eq!((quantizer.rank(), quantizer.packed_len()), (5, 3));
    let mut mean = [0.5, 9.0, -1.0, -0.2, 1.9];
    let mut packed = [0; 3];
    quantizer.encode(&mut mean, &mut packed).unwrap();
    // A deviation of 1.1 makes a gain of 1 + 2 / 16; codes 2 of 4, 99 of 256, 0 of 2 and 6 of 8.
    assert_eq!(packed, [0x82, 0x8e, 0x31]);
    let value = |code: f32, step: f32| (code + 0.5) * (1.125 * step);
    let expected = [
        value(0.0, 0.9957),
        0.0,
        value(-29.0, 0.03076),
        value(-1.0, 1.5958),
        value(2.0, 0.586),
    ];
    assert_eq!(mean, expected);
}

#[test]
fn what_is_no_number_is_some_value() {
    let quantizer = MeanQuantizer::new(&[3, 8], &[1.0, 1.0]).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let (mut mean, mut packed) = ([bad, 1.0], [0; 3]);
        quantizer.encode(&mut mean, &mut packed).unwrap();
        assert!(mean.iter().all(|mean| mean.is_finite()), "{bad}: {mean:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let steps = |steps: &[f32]| MeanQuantizer::new(&[1, 0], steps).map(|q| q.packed_len());
    assert_eq!(steps(&[1.0, -1.0]), Ok(2));
    let (found, expected) = (1, 2);
    assert_eq!(steps(&[1.0]), Err(MeanError::Steps { found, expected }));
    for found in [0.0, -1.0, f32::INFINITY] {
        assert_eq!(
            steps(&[found, 1.0]),
            Err(MeanError::Step { axis: 0, found })
        );
    }
    assert!(steps(&[f32::NAN, 1.0]).is_err());
    let found = 9;
    let wide = MeanQuantizer::new(&[0, found], &[1.0; 2]).map(|q| q.packed_len());
    assert_eq!(wide, Err(MeanError::Bits { axis: 1, found }));

    let quantizer = MeanQuantizer::new(&[8, 8], &[1.0; 2]).unwrap();
    let wrong = |buffer, found, expected| {
        Err(LengthError::Buffer {
            buffer,
            found,
            expected,
        })
    };
    assert_eq!(
        quantizer.encode(&mut [0.0], &mut [0; 3]),
        wrong("mean", 1, 2)
    );
    let packed = quantizer.encode(&mut [0.0; 2], &mut [0; 2]);
    assert_eq!(packed, wrong("packed mean", 2, 3));
    assert_eq!(quantizer.decode([0; 3], &mut [0.0]), wrong("mean", 1, 2));
    let packed = quantizer.decode([0; 2], &mut [0.0; 2]);
    assert_eq!(packed, wrong("packed mean", 2, 3));
}
