use astra_bundle::Filter;
use image::{ImageFormat, Rgb};
use proptest::prelude::*;

use super::*;
use crate::tasks::grid::unpatch;
use crate::tasks::samples::{checked, file, flag, near, noise, scene, spec};

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

/// Width and height, the input, and its pixels.
type Case = ((u32, u32), Fit, Option<usize>, Filter, [u8; 48]);

/// Values of `transformers` 5.24 with Pillow 13.0, scaled and normalized not at all: `BitImageProcessorPil` with shortest edge 9 and
/// crop 4, `DeiTImageProcessorPil` with size 7, crop 4 and Hamming's filter, `ViTImageProcessorPil` with size 4.
#[test]
fn pixels_are_those_of_transformers() {
    #[rustfmt::skip]
    let cases: [Case; 9] = [
        ((37, 23), Fit::Crop, Some(9), Filter::CatmullRom, [117, 136, 122, 139, 114, 144, 167, 144, 140, 155, 110, 108, 141, 113, 115, 110, 151, 127, 142, 98, 130, 179, 158, 157, 157, 137, 141, 123, 111, 119, 124, 148, 140, 141, 106, 149, 120, 129, 121, 128, 125, 142, 85, 130, 139, 70, 125, 122]),
        ((23, 38), Fit::Crop, Some(9), Filter::CatmullRom, [193, 136, 138, 102, 129, 148, 127, 116, 142, 100, 146, 130, 158, 123, 140, 81, 127, 116, 155, 133, 115, 111, 117, 123, 172, 123, 105, 99, 127, 126, 171, 133, 115, 131, 117, 139, 112, 136, 103, 115, 129, 99, 107, 116, 90, 158, 146, 114]),
        ((60, 5), Fit::Crop, Some(9), Filter::CatmullRom, [177, 255, 204, 224, 218, 216, 168, 37, 223, 121, 0, 240, 181, 145, 156, 228, 139, 122, 172, 116, 139, 125, 110, 160, 185, 0, 82, 232, 44, 4, 176, 211, 31, 129, 255, 51, 189, 0, 62, 236, 23, 35, 180, 232, 60, 133, 255, 79]),
        ((37, 23), Fit::StretchCrop, Some(7), Filter::Hamming, [136, 119, 130, 117, 119, 122, 144, 123, 139, 138, 130, 126, 157, 125, 137, 140, 125, 130, 134, 126, 130, 159, 128, 126, 131, 133, 138, 145, 134, 153, 121, 131, 131, 117, 126, 144, 142, 135, 143, 111, 136, 137, 109, 132, 139, 99, 126, 139]),
        ((23, 38), Fit::StretchCrop, Some(7), Filter::Hamming, [115, 127, 127, 163, 128, 138, 146, 127, 137, 135, 128, 121, 153, 127, 136, 121, 128, 138, 132, 127, 151, 135, 128, 128, 186, 127, 120, 88, 128, 117, 154, 127, 117, 125, 128, 130, 178, 127, 104, 97, 128, 114, 111, 127, 106, 144, 128, 120]),
        ((60, 5), Fit::StretchCrop, Some(7), Filter::Hamming, [122, 128, 130, 124, 127, 91, 128, 127, 152, 149, 128, 129, 112, 128, 159, 127, 127, 86, 131, 127, 151, 152, 128, 100, 101, 127, 115, 133, 128, 103, 137, 127, 122, 158, 127, 112, 107, 127, 127, 132, 128, 132, 127, 127, 116, 133, 127, 127]),
        ((37, 23), Fit::Stretch, None, Filter::Triangle, [88, 127, 101, 120, 127, 121, 134, 128, 121, 125, 128, 131, 114, 127, 124, 135, 127, 133, 138, 128, 132, 127, 128, 131, 133, 128, 126, 122, 128, 134, 115, 127, 131, 136, 127, 126, 149, 127, 131, 134, 127, 126, 126, 128, 116, 124, 128, 131]),
        ((23, 38), Fit::Stretch, None, Filter::Triangle, [73, 126, 99, 133, 127, 127, 121, 127, 126, 141, 127, 122, 129, 128, 121, 132, 128, 134, 130, 128, 131, 118, 128, 132, 166, 128, 104, 125, 128, 116, 130, 128, 122, 133, 128, 120, 139, 126, 110, 124, 127, 129, 130, 127, 131, 122, 127, 132]),
        ((60, 5), Fit::Stretch, None, Filter::Triangle, [105, 118, 58, 125, 130, 113, 139, 125, 169, 137, 137, 128, 97, 126, 112, 127, 128, 120, 147, 127, 122, 145, 129, 117, 96, 137, 117, 127, 125, 123, 143, 130, 125, 141, 118, 125, 104, 123, 122, 129, 129, 126, 142, 126, 128, 141, 132, 135]),
    ];
    for ((width, height), fit, resize, filter, expected) in cases {
        let spec = ImageInput {
            fit,
            filter,
            resize,
            ..spec(4, 2)
        };
        let prepared = prepare(&file(&checked(width, height), ImageFormat::Png), &spec).unwrap();
        let square = unpatch(&prepared.pixels, &Grid::new(&spec).unwrap()).unwrap();
        assert_eq!(square.as_raw(), &expected, "{fit:?} of {width} x {height}");
        let whole = Rect {
            x: 0,
            y: 0,
            width: 4,
            height: 4,
        };
        assert_eq!(prepared.content, whole);
    }
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

/// Resizing keeps no more than the part of the input that is looked at.
#[test]
fn strips_are_taken_however_they_fit_in() {
    let strip = file(&RgbImage::new(60_000, 1), ImageFormat::Png);
    for fit in [Fit::Pad, Fit::Stretch, Fit::Crop, Fit::StretchCrop] {
        let input = ImageInput {
            fit,
            ..spec(518, 14)
        };
        assert_eq!(
            prepare(&strip, &input).unwrap().pixels.len(),
            518 * 518 * 3,
            "{fit:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn content_keeps_the_aspect_within_a_pixel(width in 1u32..20_000, height in 1u32..20_000, size in 1u32..600) {
        let rect = content_rect((width, height), size, Fit::Pad);
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
