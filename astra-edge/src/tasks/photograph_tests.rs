use std::io::Cursor;

use image::{ImageEncoder, Rgb, imageops};

use super::*;
use crate::tasks::samples::{file, flag, near, noise, scene};

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
