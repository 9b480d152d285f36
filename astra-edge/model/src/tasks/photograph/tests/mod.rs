use image::ImageEncoder;
use image::codecs::jpeg::JpegEncoder;

use super::*;
use crate::tasks::samples::{crc32, file, noise, scene};

mod kinds;
mod samples;
mod upright;
mod webcam;

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
    let mut encoder = JpegEncoder::new(&mut bytes);
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
                height: 30_000,
                ..
            }
        ),
        "{error}"
    );
}

/// As wide as JPEG can say, and wider than WebP can.
#[test]
fn thin_strips_are_taken() {
    for (width, height) in [(65_535, 3), (2, 60_000)] {
        let strip = RgbImage::from_pixel(width, height, image::Rgb([254, 1, 3]));
        let found = decode(&file(&strip, ImageFormat::Png)).unwrap();
        assert_eq!(found, strip);
    }
    let long = file(&RgbImage::new(100_001, 1), ImageFormat::Png);
    let error = decode(&long).unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");
}
