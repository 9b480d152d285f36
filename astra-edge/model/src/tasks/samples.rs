//! Test images.

use std::io::Cursor;

use astra_bundle::{Filter, Fit, ImageInput};
use image::{ImageFormat, Rgb, RgbImage};
use rand::{Rng, SeedableRng, rngs::StdRng};

pub(crate) fn spec(size: usize, patch: usize) -> ImageInput {
    ImageInput {
        size,
        patch,
        fit: Fit::Pad,
        filter: Filter::Triangle,
        resize: None,
        map_size: None,
        head_rows: None,
    }
}

/// Random bytes, the worst case for compression.
pub(crate) fn noise(width: u32, height: u32, seed: u64) -> RgbImage {
    let mut rng = StdRng::seed_from_u64(seed);
    RgbImage::from_fn(width, height, |_, _| Rgb(rng.random()))
}

/// Smooth waves of colour with an edge and a little sensor noise, which compress like a photograph.
pub(crate) fn scene(width: u32, height: u32, seed: u64) -> RgbImage {
    let mut rng = StdRng::seed_from_u64(seed);
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
        let edge = if u + 0.5 * v > 0.8 { 40.0 } else { 0.0 };
        let grain: f32 = rng.random_range(-2.0..2.0);
        let wave = |phase: f32| 120.0 + 60.0 * (7.0 * u + 5.0 * v + phase).sin() + edge + grain;
        Rgb([wave(0.0) as u8, wave(1.0) as u8, wave(2.5) as u8])
    })
}

pub(crate) fn file(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// An upright photograph: red at the top left, green at the top right, blue below.
pub(crate) fn flag(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        match (x < width / 2, y < height / 2) {
            (true, true) => Rgb([255, 0, 0]),
            (false, true) => Rgb([0, 255, 0]),
            _ => Rgb([0, 0, 255]),
        }
    })
}

pub(crate) fn near(found: Rgb<u8>, expected: [u8; 3]) -> bool {
    found
        .0
        .iter()
        .zip(expected)
        .all(|(a, b)| a.abs_diff(b) < 30)
}

/// CRC of a PNG chunk, computed bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

/// An image of integer formulas that another program can reproduce: parabolas, a checkerboard of black and white, and a moire.
pub(crate) fn checked(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let board = (x / 3 + y / 2) % 2 * 255;
        Rgb([x * x * 3 + y * 7, board, x * y * 11 + x * 5].map(|value| (value % 256) as u8))
    })
}
