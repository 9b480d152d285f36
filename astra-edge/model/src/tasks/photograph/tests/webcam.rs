//! Frames of Motion JPEG, which leave out the tables that decoders are to know.

use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

use super::super::*;
use crate::tasks::samples::scene;

const TABLES: u8 = 0xc4;
const APP0: u8 = 0xe0;

/// A frame whose tables are those of ITU-T T.81, K.3 to K.6, which this encoder writes.
fn frame(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new(&mut bytes).encode_image(image).unwrap();
    bytes
}

/// The file without the first `count` segments of a kind.
fn without(bytes: &[u8], kind: u8, count: usize) -> Vec<u8> {
    let mut out = bytes[..2].to_vec();
    let (mut rest, mut left) = (&bytes[2..], count);
    while rest[1] != 0xda {
        let length = 2 + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if rest[1] == kind && left > 0 {
            left -= 1;
        } else {
            out.extend(&rest[..length]);
        }
        rest = &rest[length..];
    }
    out.extend(rest);
    out
}

#[test]
fn frames_without_tables_have_the_pixels_of_those_with_them() {
    let image = scene(80, 48, 11);
    let whole = frame(&image);
    let bare = without(&whole, TABLES, usize::MAX);
    assert!(whole.len() - bare.len() > 400, "no tables were left out");
    let expected = decode(&whole).unwrap();
    assert_eq!(decode(&bare).unwrap(), expected);
    // Cameras fill their buffers up with zeros.
    let padded = [bare.as_slice(), &[0; 500]].concat();
    assert_eq!(decode(&padded).unwrap(), expected);
    // AVI files have a segment of their own in place of that of JFIF, and some frames have none.
    let neither = without(&bare, APP0, 1);
    assert_eq!(decode(&neither).unwrap(), expected);
    let mut avi = vec![0xff, 0xd8, 0xff, APP0, 0, 16];
    avi.extend(b"AVI1\0\0\0\0\0\0\0\0\0\0");
    avi.extend(&neither[2..]);
    assert_eq!(decode(&avi).unwrap(), expected);
}

#[test]
fn grey_frames_have_no_tables_either() {
    let grey = image::DynamicImage::ImageRgb8(scene(40, 40, 12)).into_luma8();
    let mut whole = Vec::new();
    JpegEncoder::new(&mut whole).encode_image(&grey).unwrap();
    let bare = without(&whole, TABLES, usize::MAX);
    assert!(bare.len() < whole.len());
    assert_eq!(decode(&bare).unwrap(), decode(&whole).unwrap());
}

#[test]
fn tables_are_put_in_only_where_there_are_none_and_they_are_the_right_ones() {
    let whole = frame(&scene(32, 32, 13));
    assert!(matches!(jpeg::with_tables(&whole), Cow::Borrowed(_)));
    let some = without(&whole, TABLES, 1);
    assert!(matches!(jpeg::with_tables(&some), Cow::Borrowed(_)));
    assert!(matches!(decode(&some), Err(ImageError::Decode { .. })));
    // Scans of progressive files are never coded with the standard ones.
    let mut progressive = without(&whole, TABLES, usize::MAX);
    let frame = progressive.windows(2).position(|pair| pair == [0xff, 0xc0]);
    progressive[frame.unwrap() + 1] = 0xc2;
    assert!(matches!(jpeg::with_tables(&progressive), Cow::Borrowed(_)));
}

#[test]
fn a_frame_cut_short_is_refused() {
    let bare = without(&frame(&scene(64, 64, 14)), TABLES, usize::MAX);
    for cut in [2, 40, bare.len() / 2] {
        let error = decode(&bare[..bare.len() - cut]).unwrap_err();
        assert!(matches!(error, ImageError::Truncated { .. }), "{error}");
        assert!(error.to_string().contains("truncated"), "{error}");
    }
}
