//! Photographs stored as the camera was held.

use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ImageEncoder, RgbImage, imageops};

use super::super::*;
use super::JpegEncoder;
use crate::tasks::samples::{crc32, flag, near};

/// EXIF metadata that hold nothing but the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    #[rustfmt::skip]
    let exif = vec![
        b'I', b'I', 42, 0, 8, 0, 0, 0,                    // little-endian TIFF, directory at 8
        1, 0,                                             // one entry
        0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, // orientation, one 16-bit number
        0, 0, 0, 0,                                       // no other directory
    ];
    exif
}

/// What the camera stored of an upright photograph (EXIF 2.3, orientation: where the first row and column are).
fn stored(upright: &RgbImage, orientation: u8) -> RgbImage {
    let transposed = || imageops::flip_horizontal(&imageops::rotate90(upright));
    match orientation {
        2 => imageops::flip_horizontal(upright),
        3 => imageops::rotate180(upright),
        4 => imageops::flip_vertical(upright),
        5 => transposed(),
        6 => imageops::rotate270(upright),
        7 => imageops::rotate180(&transposed()),
        8 => imageops::rotate90(upright),
        _ => upright.clone(),
    }
}

fn write(encoder: impl ImageEncoder, image: &RgbImage) {
    let (width, height) = image.dimensions();
    let color = image::ExtendedColorType::Rgb8;
    encoder.write_image(image, width, height, color).unwrap();
}

fn png(image: &RgbImage, exif: Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    if let Some(exif) = exif {
        encoder.set_exif_metadata(exif).unwrap();
    }
    write(encoder, image);
    bytes
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    let length = u32::try_from(data.len()).unwrap();
    let crc = crc32(&body).to_be_bytes();
    [length.to_be_bytes().as_slice(), &body, &crc].concat()
}

fn assert_upright(bytes: &[u8], upright: &RgbImage, what: &str) {
    let seen = decode(bytes).unwrap();
    assert_eq!(seen.dimensions(), upright.dimensions(), "{what}");
    for (x, y) in [(4, 4), (44, 4), (4, 28), (44, 28)] {
        let expected = upright.get_pixel(x, y).0;
        assert!(near(*seen.get_pixel(x, y), expected), "{what} at {x}, {y}");
    }
}

#[test]
fn every_orientation_of_every_format_is_applied() {
    let upright = flag(48, 32);
    for orientation in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99] {
        let stored = stored(&upright, orientation);
        let what = |format| format!("{format}, orientation {orientation}");

        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.encode_image(&stored).unwrap();
        assert_upright(&bytes, &upright, &what("JPEG"));

        let bytes = png(&stored, Some(exif(orientation)));
        assert_upright(&bytes, &upright, &what("PNG"));

        // Some programs write the prefix of JPEG here too; Pillow reads both.
        for prefix in [b"".as_slice(), b"Exif\0\0"] {
            let mut bytes = Vec::new();
            let mut encoder = WebPEncoder::new_lossless(&mut bytes);
            let exif = [prefix, &exif(orientation)].concat();
            encoder.set_exif_metadata(exif).unwrap();
            write(encoder, &stored);
            assert_upright(&bytes, &upright, &what("WebP"));
        }
    }
}

/// As Pillow, which reads the rest of the file for it.
#[test]
fn metadata_after_the_pixels_of_a_png_count() {
    let upright = flag(48, 32);
    let mut bytes = png(&stored(&upright, 6), None);
    let end = bytes.len() - 12;
    bytes.splice(end..end, chunk(b"eXIf", &exif(6)));
    assert_upright(&bytes, &upright, "PNG");
}

/// As in Pillow's `Image.getexif`: XMP counts where EXIF says nothing.
#[test]
fn xmp_counts_where_there_is_no_exif() {
    let upright = flag(48, 32);
    for xmp in [
        "<rdf:Description tiff:Orientation=\"6\"/>",
        "<tiff:Orientation>6</tiff:Orientation>",
    ] {
        // Keyword, not compressed, no language, no translated keyword, text.
        let text = format!("XML:com.adobe.xmp\0\0\0\0\0{xmp}");
        let mut bytes = png(&stored(&upright, 6), None);
        let after_header = 8 + 25;
        bytes.splice(after_header..after_header, chunk(b"iTXt", text.as_bytes()));
        assert_upright(&bytes, &upright, xmp);
    }
    let mut both = png(&upright, Some(exif(1)));
    let text = b"XML:com.adobe.xmp\0\0\0\0\0tiff:Orientation=\"6\"";
    both.splice(33..33, chunk(b"iTXt", text));
    assert_upright(&both, &upright, "both");
}
