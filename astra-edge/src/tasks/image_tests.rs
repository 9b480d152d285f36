use image::{ImageFormat, Rgb};
use proptest::prelude::*;

use super::*;
use crate::tasks::grid::unpatch;
use crate::tasks::samples::{file, flag, near, noise, scene, spec};

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

#[test]
fn strips_too_long_to_resize_are_refused() {
    let stretched = ImageInput {
        fit: Fit::Stretch,
        ..spec(518, 14)
    };
    let strip = file(&RgbImage::new(60_000, 1), ImageFormat::Png);
    let error = prepare(&strip, &stretched).unwrap_err();
    assert!(matches!(error, ImageError::Strip { .. }), "{error}");
    assert!(prepare(&strip, &spec(518, 14)).is_ok());
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
