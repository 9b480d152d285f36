use std::io::Cursor;

use image::{ImageEncoder, Rgb};
use proptest::prelude::*;

use super::*;
use crate::tasks::grid::unpatch;
use crate::tasks::samples::{noise, scene, spec};

fn file(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// An upright photograph: red at the top left, green at the top right, blue below.
fn flag(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        match (x < width / 2, y < height / 2) {
            (true, true) => Rgb([255, 0, 0]),
            (false, true) => Rgb([0, 255, 0]),
            _ => Rgb([0, 0, 255]),
        }
    })
}

/// A JPEG file with an EXIF chunk that holds nothing but the orientation.
fn oriented(image: &RgbImage, orientation: u8) -> Vec<u8> {
    #[rustfmt::skip]
    let exif = vec![
        b'I', b'I', 42, 0, 8, 0, 0, 0,                    // little-endian TIFF, directory at 8
        1, 0,                                             // one entry
        0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, // orientation, one 16-bit number
        0, 0, 0, 0,                                       // no other directory
    ];
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.encode_image(image).unwrap();
    bytes
}

fn near(found: Rgb<u8>, expected: [u8; 3]) -> bool {
    found
        .0
        .iter()
        .zip(expected)
        .all(|(a, b)| a.abs_diff(b) < 30)
}

#[test]
fn wide_photograph_is_padded_above_and_below() {
    let prepared = prepare(&file(&flag(60, 30), ImageFormat::Png), &spec(28, 7)).unwrap();
    let content = Rect {
        x: 0,
        y: 7,
        width: 28,
        height: 14,
    };
    assert_eq!(prepared.content, content);
    assert_eq!(prepared.original, flag(60, 30));
    let square = unpatch(&prepared.pixels, &Grid::new(&spec(28, 7)).unwrap()).unwrap();
    for x in 0..28 {
        assert_eq!(square.get_pixel(x, 6).0, [0; 3]);
        assert_eq!(square.get_pixel(x, 21).0, [0; 3]);
    }
    assert!(near(*square.get_pixel(2, 8), [255, 0, 0]));
    assert!(near(*square.get_pixel(25, 8), [0, 255, 0]));
    assert!(near(*square.get_pixel(2, 19), [0, 0, 255]));
}

#[test]
fn tall_photograph_is_padded_left_and_right() {
    let prepared = prepare(&file(&flag(30, 60), ImageFormat::Png), &spec(28, 7)).unwrap();
    let content = Rect {
        x: 7,
        y: 0,
        width: 14,
        height: 28,
    };
    assert_eq!(prepared.content, content);
    let square = unpatch(&prepared.pixels, &Grid::new(&spec(28, 7)).unwrap()).unwrap();
    assert!(
        (0..28).all(|y| square.get_pixel(6, y).0 == [0; 3] && square.get_pixel(21, y).0 == [0; 3])
    );
    assert!(near(*square.get_pixel(8, 2), [255, 0, 0]));
    assert!(near(*square.get_pixel(19, 2), [0, 255, 0]));
}

#[test]
fn stretched_photograph_fills_the_square() {
    let spec = ImageInput {
        fit: Fit::Stretch,
        ..spec(28, 7)
    };
    let prepared = prepare(&file(&flag(60, 30), ImageFormat::Png), &spec).unwrap();
    assert_eq!(
        prepared.content,
        Rect {
            x: 0,
            y: 0,
            width: 28,
            height: 28
        }
    );
    let square = unpatch(&prepared.pixels, &Grid::new(&spec).unwrap()).unwrap();
    assert!(near(*square.get_pixel(0, 0), [255, 0, 0]));
    assert!(near(*square.get_pixel(27, 27), [0, 0, 255]));
}

#[test]
fn photograph_of_the_input_size_is_untouched() {
    let square = noise(28, 28, 3);
    let prepared = prepare(&file(&square, ImageFormat::WebP), &spec(28, 7)).unwrap();
    assert_eq!(
        unpatch(&prepared.pixels, &Grid::new(&spec(28, 7)).unwrap()).unwrap(),
        square
    );
}

/// Fine black and white stripes must come out grey, not as stripes of another width.
#[test]
fn shrinking_does_not_alias() {
    let stripes = RgbImage::from_fn(297, 297, |x, _| Rgb([if x % 2 == 0 { 0 } else { 255 }; 3]));
    let prepared = prepare(&file(&stripes, ImageFormat::Png), &spec(28, 7)).unwrap();
    assert!(prepared.pixels.iter().all(|value| value.abs_diff(127) < 20));
}

#[test]
fn a_line_of_one_pixel_keeps_a_pixel() {
    let prepared = prepare(&file(&noise(300, 1, 4), ImageFormat::Png), &spec(28, 7)).unwrap();
    assert_eq!(
        prepared.content,
        Rect {
            x: 0,
            y: 13,
            width: 28,
            height: 1
        }
    );
}

#[test]
fn orientation_is_applied() {
    // What the camera stored, so that turned by the orientation it is upright.
    let upright = flag(48, 32);
    for (orientation, stored) in [
        (1, upright.clone()),
        (3, imageops::rotate180(&upright)),
        (6, imageops::rotate270(&upright)),
        (8, imageops::rotate90(&upright)),
        (99, upright.clone()),
    ] {
        let seen = decode(&oriented(&stored, orientation)).unwrap();
        assert_eq!(seen.dimensions(), (48, 32), "orientation {orientation}");
        assert!(
            near(*seen.get_pixel(4, 4), [255, 0, 0]),
            "orientation {orientation}"
        );
        assert!(
            near(*seen.get_pixel(44, 4), [0, 255, 0]),
            "orientation {orientation}"
        );
    }
}

#[test]
fn grey_deep_and_transparent_images_are_read() {
    let grey = image::GrayImage::from_pixel(5, 4, image::Luma([77]));
    let mut bytes = Cursor::new(Vec::new());
    grey.write_to(&mut bytes, ImageFormat::Png).unwrap();
    assert_eq!(decode(bytes.get_ref()).unwrap().get_pixel(2, 2).0, [77; 3]);

    let mut deep = Vec::new();
    let samples: Vec<u8> = [0u16, 0x8080, 0xffff]
        .iter()
        .flat_map(|v| v.to_ne_bytes())
        .collect();
    image::codecs::png::PngEncoder::new(&mut deep)
        .write_image(&samples, 1, 1, image::ExtendedColorType::Rgb16)
        .unwrap();
    assert_eq!(decode(&deep).unwrap().get_pixel(0, 0).0, [0, 128, 255]);

    let clear = image::RgbaImage::from_pixel(3, 3, image::Rgba([1, 2, 3, 0]));
    let mut bytes = Cursor::new(Vec::new());
    clear.write_to(&mut bytes, ImageFormat::WebP).unwrap();
    assert_eq!(decode(bytes.get_ref()).unwrap().dimensions(), (3, 3));
}

#[test]
fn what_is_not_a_photograph_is_named() {
    assert!(matches!(decode(b""), Err(ImageError::Empty)));
    let message = decode(b"%PDF-1.7\n...").unwrap_err().to_string();
    assert_eq!(
        message,
        "not an image: 12 bytes that start with 25 50 44 46 2d 31 2e 37 (\"%PDF-1.7\"); expected a JPEG, PNG or WebP file"
    );
    let message = decode(b"GIF89a\x01\x00\x01\x00").unwrap_err().to_string();
    assert_eq!(
        message,
        "the image is Gif: expected a JPEG, PNG or WebP file"
    );
}

#[test]
fn truncated_files_are_refused() {
    let image = scene(80, 60, 5);
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let bytes = file(&image, format);
        assert!(decode(&bytes).is_ok());
        // PNG is whole without its last chunk, of 12 bytes, which is empty.
        for length in [3, 20, bytes.len() / 2, bytes.len() - 16] {
            assert!(decode(&bytes[..length]).is_err(), "{format:?} {length}");
        }
    }
    let bytes = file(&image, ImageFormat::Jpeg);
    let half = &bytes[..bytes.len() - 100];
    assert!(matches!(decode(half), Err(ImageError::Truncated { .. })));
}

/// The end marker of an embedded thumbnail is not that of the photograph.
#[test]
fn thumbnail_does_not_hide_truncation() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut bytes);
    encoder
        .set_exif_metadata(file(&noise(8, 8, 6), ImageFormat::Jpeg))
        .unwrap();
    encoder.encode_image(&scene(64, 64, 7)).unwrap();
    assert!(decode(&bytes).is_ok());
    bytes.truncate(bytes.len() - 50);
    assert!(matches!(decode(&bytes), Err(ImageError::Truncated { .. })));
}

#[test]
fn giants_are_refused_before_they_are_decoded() {
    // A PNG header alone: 30,000 x 30,000 pixels, grey.
    let mut header = file(&noise(4, 4, 8), ImageFormat::Png);
    header[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let crc = crc32(&header[12..29]);
    header[29..33].copy_from_slice(&crc.to_be_bytes());
    let error = decode(&header).unwrap_err();
    assert!(
        matches!(
            error,
            ImageError::TooLarge {
                width: 30_000,
                height: 30_000
            }
        ),
        "{error}"
    );
}

/// CRC of a PNG chunk, one bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
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

#[test]
fn corrupted_files_do_not_panic() {
    let image = scene(24, 16, 9);
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let bytes = file(&image, format);
        for position in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut torn = bytes.clone();
                torn[position] ^= flip;
                let _ = prepare(&torn, &spec(28, 7));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn content_keeps_the_aspect_within_a_pixel(width in 1u32..20_000, height in 1u32..20_000, size in 1u32..600) {
        let rect = place((width, height), size, Fit::Pad);
        prop_assert!(rect.width >= 1 && rect.height >= 1);
        prop_assert!(rect.x + rect.width <= size && rect.y + rect.height <= size);
        prop_assert_eq!(rect.width.max(rect.height), size);
        let exact = f64::from(width.min(height)) * f64::from(size) / f64::from(width.max(height));
        prop_assert!((f64::from(rect.width.min(rect.height)) - exact).abs() <= 0.5 || exact < 0.5);
        // Padding is the same on both sides, or one pixel more after the photograph.
        let (after_x, after_y) = (size - rect.x - rect.width, size - rect.y - rect.height);
        prop_assert!(after_x - rect.x <= 1 && after_y - rect.y <= 1);
    }
}
