use proptest::prelude::*;

use super::*;
use crate::tasks::grid::patches;
use crate::tasks::samples::{noise, scene, spec};

fn pixels(size: usize, patch: usize, seed: u64) -> (Vec<u8>, ImageInput) {
    let spec = spec(size, patch);
    let side = u32::try_from(size).unwrap();
    let grid = Grid::new(&spec).unwrap();
    (patches(&scene(side, side, seed), &grid).unwrap(), spec)
}

fn range(first: u16, tokens: u16) -> TokenRange {
    TokenRange { first, tokens }
}

/// Pixels of a token range, by slicing.
fn own(pixels: &[u8], range: TokenRange, patch: usize) -> &[u8] {
    let bytes = patch * patch * 3;
    &pixels[usize::from(range.first) * bytes..range.end() * bytes]
}

/// Ratio of the largest signal to the error, in decibels.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares.max(1e-9)).log10()
}

/// Whole rows, parts of a row, parts of two rows, one token, all tokens.
const RANGES: [(u16, u16); 9] = [
    (0, 32),
    (0, 1),
    (255, 1),
    (17, 1),
    (5, 7),
    (12, 8),
    (70, 61),
    (128, 128),
    (0, 256),
];

#[test]
fn lossless_strips_are_exact() {
    let (pixels, spec) = pixels(224, 14, 1);
    for (first, tokens) in RANGES {
        let range = range(first, tokens);
        let strip = encode(&pixels, range, &spec, true).unwrap();
        assert_eq!(strip[0], 2);
        assert!(
            decode(&strip, range, &spec).unwrap() == own(&pixels, range, 14),
            "{range:?}"
        );
    }
}

#[test]
fn noise_survives_the_lossless_codec() {
    let spec = spec(70, 10);
    let pixels = patches(&noise(70, 70, 2), &Grid::new(&spec).unwrap()).unwrap();
    let range = range(3, 20);
    let strip = encode(&pixels, range, &spec, true).unwrap();
    assert!(decode(&strip, range, &spec).unwrap() == own(&pixels, range, 10));
}

#[test]
fn lossy_strips_are_close_and_smaller() {
    let (pixels, spec) = pixels(224, 14, 3);
    for (first, tokens) in RANGES {
        let range = range(first, tokens);
        let strip = encode(&pixels, range, &spec, false).unwrap();
        assert_eq!(strip[0], 1);
        let seen = decode(&strip, range, &spec).unwrap();
        assert_eq!(seen.len(), usize::from(tokens) * 14 * 14 * 3);
        let quality = psnr(&seen, own(&pixels, range, 14));
        assert!(quality > 38.0, "{range:?}: {quality} dB");
    }
    let range = range(64, 64);
    let lossy = encode(&pixels, range, &spec, false).unwrap().len();
    let lossless = encode(&pixels, range, &spec, true).unwrap().len();
    assert!(lossy * 2 < lossless, "{lossy} {lossless}");
}

/// Two tokens on two rows make an image of two rows: what is flat in it must cost next to nothing.
#[test]
fn flat_patches_cost_little() {
    let spec = spec(224, 14);
    let pixels = patches(&noise(224, 224, 4), &Grid::new(&spec).unwrap()).unwrap();
    for lossless in [false, true] {
        let bytes = |range| encode(&pixels, range, &spec, lossless).unwrap().len();
        let (row, two) = (bytes(range(16, 16)), bytes(range(31, 2)));
        assert!(3 * two < row, "lossless {lossless}: {two} {row}");
    }
}

#[test]
fn a_line_of_tokens_is_no_wider_than_itself() {
    let (pixels, spec) = pixels(224, 14, 5);
    let strip = encode(&pixels, range(18, 3), &spec, false).unwrap();
    let decoder = JpegDecoder::new(Cursor::new(&strip[1..])).unwrap();
    assert_eq!(decoder.dimensions(), (42, 14));
}

#[test]
fn wrong_inputs_are_named() {
    let (pixels, spec) = pixels(56, 14, 6);
    let short = encode(&pixels[1..], range(0, 4), &spec, true);
    let message = short.unwrap_err().to_string();
    assert_eq!(message, "pixels: found 9407 bytes, expected 9408");
    let outside = encode(&pixels, range(15, 2), &spec, true)
        .unwrap_err()
        .to_string();
    assert_eq!(
        outside,
        "tokens: found 15..17, expected at least one, all within an input of 16"
    );
}

#[test]
fn strips_of_another_plan_are_refused() {
    let (pixels, spec) = pixels(56, 14, 7);
    for lossless in [false, true] {
        let strip = encode(&pixels, range(0, 8), &spec, lossless).unwrap();
        assert!(matches!(
            decode(&strip, range(0, 12), &spec),
            Err(StripError::Shape {
                width: 56,
                height: 28,
                expected_height: 42,
                ..
            })
        ));
        assert!(matches!(
            decode(&strip, range(14, 5), &spec),
            Err(StripError::Grid(_))
        ));
    }
    assert!(matches!(
        decode(&[], range(0, 1), &spec),
        Err(StripError::Empty)
    ));
    assert!(matches!(
        decode(&[9, 1, 2], range(0, 1), &spec),
        Err(StripError::Codec { found: 9 })
    ));
    let mut swapped = encode(&pixels, range(0, 8), &spec, true).unwrap();
    swapped[0] = 1;
    assert!(matches!(
        decode(&swapped, range(0, 8), &spec),
        Err(StripError::Truncated { .. })
    ));
    swapped[0] = 2;
    swapped[1] = 0;
    assert!(matches!(
        decode(&swapped, range(0, 8), &spec),
        Err(StripError::Decode { .. })
    ));
}

/// A header that claims a giant is refused for its size, before any memory is taken for it.
#[test]
fn giants_are_refused() {
    let (pixels, spec) = pixels(56, 14, 8);
    let mut strip = encode(&pixels, range(0, 4), &spec, false).unwrap();
    let frame = strip
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    strip[frame + 5..frame + 9].fill(0xff);
    assert!(matches!(
        decode(&strip, range(0, 4), &spec),
        Err(StripError::Shape {
            width: 65_535,
            height: 65_535,
            ..
        })
    ));
}

#[test]
fn every_truncation_is_an_error() {
    let (pixels, spec) = pixels(32, 8, 9);
    let range = range(3, 6);
    for lossless in [false, true] {
        let strip = encode(&pixels, range, &spec, lossless).unwrap();
        // WebP pads its chunk to an even length: the last byte may be nothing but that.
        let needed = if lossless {
            strip.len() - 1
        } else {
            strip.len()
        };
        for length in 0..needed {
            assert!(
                decode(&strip[..length], range, &spec).is_err(),
                "lossless {lossless}: {length}"
            );
        }
    }
}

#[test]
fn every_corruption_is_an_error_or_pixels() {
    let (pixels, spec) = pixels(32, 8, 10);
    let range = range(3, 6);
    for lossless in [false, true] {
        let strip = encode(&pixels, range, &spec, lossless).unwrap();
        for position in 0..strip.len() {
            for flip in [0x01, 0x02, 0x10, 0x80, 0xff] {
                let mut torn = strip.clone();
                torn[position] ^= flip;
                if let Ok(seen) = decode(&torn, range, &spec) {
                    assert_eq!(seen.len(), 6 * 8 * 8 * 3);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_range_round_trips(side in 1usize..9, patch in 1usize..9, ends in (0usize..1000, 0usize..1000), seed: u64) {
        let (pixels, spec) = pixels(side * patch, patch, seed);
        let total = side * side;
        let (a, b) = (ends.0 % total, ends.1 % total);
        let range = range(u16::try_from(a.min(b)).unwrap(), u16::try_from(a.abs_diff(b) + 1).unwrap());
        let strip = encode(&pixels, range, &spec, true).unwrap();
        prop_assert_eq!(decode(&strip, range, &spec).unwrap(), own(&pixels, range, patch));
        let strip = encode(&pixels, range, &spec, false).unwrap();
        prop_assert_eq!(decode(&strip, range, &spec).unwrap().len(), own(&pixels, range, patch).len());
    }

    #[test]
    fn any_bytes_are_an_error_or_pixels(kind in 0u8..4, bytes: Vec<u8>) {
        let mut strip = vec![kind];
        strip.extend(bytes);
        strip.extend([0xff, 0xd9]);
        prop_assert!(decode(&strip, range(0, 3), &spec(32, 8)).is_err());
    }
}
