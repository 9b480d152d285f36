use image::GenericImageView;

use super::*;
use crate::tasks::samples::{scene, spec};

fn grid() -> Grid {
    Grid::new(&spec(56, 14)).unwrap()
}

fn flat(original: &RgbImage) -> Overlay<'_> {
    Overlay {
        original,
        map: &[0.0],
        map_size: [1, 1],
        content: Rect {
            x: 0,
            y: 0,
            width: 56,
            height: 56,
        },
        grid: grid(),
        missing: &[],
    }
}

fn brightness(picture: &RgbImage, x: u32, y: u32, width: u32, height: u32) -> f32 {
    let view = picture.view(x, y, width, height);
    let sum: f32 = view
        .pixels()
        .map(|(_, _, pixel)| luma(pixel.0.map(f32::from)))
        .sum();
    sum / (width * height) as f32
}

#[test]
fn the_map_is_bright_where_it_is_high() {
    let original = scene(90, 60, 1);
    // The lower right of the square input.
    let map = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let picture = draw(&Overlay {
        map: &map,
        map_size: [3, 3],
        ..flat(&original)
    })
    .unwrap();
    assert_eq!(picture.dimensions(), (90, 60));
    let cold = brightness(&picture, 0, 0, 30, 20);
    let hot = brightness(&picture, 75, 50, 15, 10);
    assert!(hot > 1.6 * cold, "{hot} {cold}");
    assert!(brightness(&original, 0, 0, 30, 20) > 1.5 * cold);
}

/// Only the middle of a padded input is the photograph; the map over the padding is not seen.
#[test]
fn padding_is_left_out() {
    let original = scene(80, 40, 2);
    let content = Rect {
        x: 0,
        y: 14,
        width: 56,
        height: 28,
    };
    let outside = [1.0, 0.0, 0.0, 1.0];
    let inside = [0.0, 1.0, 1.0, 0.0];
    let base = Overlay {
        map_size: [4, 1],
        content,
        ..flat(&original)
    };
    let middle = |map: &[f32]| {
        let picture = draw(&Overlay { map, ..base }).unwrap();
        brightness(&picture, 0, 18, 80, 4)
    };
    assert_eq!(middle(&outside), middle(&[0.0; 4]));
    assert_eq!(middle(&inside), middle(&[1.0; 4]));
}

#[test]
fn missing_tokens_are_hatched_and_nothing_else() {
    let original = scene(112, 112, 3);
    let missing = [
        TokenRange {
            first: 5,
            tokens: 1,
        },
        TokenRange {
            first: 14,
            tokens: 2,
        },
    ];
    let plain = draw(&flat(&original)).unwrap();
    let picture = draw(&Overlay {
        missing: &missing,
        ..flat(&original)
    })
    .unwrap();
    for (x, y, pixel) in picture.enumerate_pixels() {
        let token = y / 28 * 4 + x / 28;
        if [5, 14, 15].contains(&token) {
            let Rgb([r, g, b]) = *pixel;
            assert!(r == g && g == b, "{x} {y}");
        } else {
            assert_eq!(pixel, plain.get_pixel(x, y), "{x} {y}");
        }
    }
}

#[test]
fn bilinear_between_cells() {
    for (place, cells, expected) in [
        (0.0, 2, 10.0),
        (0.25, 2, 10.0),
        (0.5, 2, 15.0),
        (0.75, 2, 20.0),
        (1.0, 2, 20.0),
        (0.3, 1, 10.0),
    ] {
        let found = Interpolation::new(place, cells).of(&[10.0, 20.0]);
        assert!((found - expected).abs() < 1e-6, "{place}: {found}");
    }
}

#[test]
fn strange_values_are_drawn_as_their_nearest() {
    let original = scene(20, 20, 4);
    let draw = |map: &[f32; 4]| {
        draw(&Overlay {
            map,
            map_size: [2, 2],
            ..flat(&original)
        })
        .unwrap()
    };
    let strange = draw(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 7.0]);
    assert_eq!(strange, draw(&[0.0, 1.0, 0.0, 1.0]));
}

#[test]
fn wrong_inputs_are_named() {
    let original = scene(20, 20, 5);
    let base = flat(&original);
    for map_size in [[0, 0], [2, 1], [usize::MAX, usize::MAX], [1, 0]] {
        let drawn = draw(&Overlay { map_size, ..base });
        assert!(
            matches!(drawn, Err(DrawError::Map { values: 1, .. })),
            "{map_size:?}"
        );
    }
    for (x, width) in [(0, 57), (1, 56), (0, 0), (u32::MAX, u32::MAX)] {
        let content = Rect {
            x,
            width,
            ..base.content
        };
        assert!(matches!(
            draw(&Overlay { content, ..base }),
            Err(DrawError::Content { .. })
        ));
    }
    let missing = [TokenRange {
        first: 15,
        tokens: 2,
    }];
    assert!(matches!(
        draw(&Overlay {
            missing: &missing,
            ..base
        }),
        Err(DrawError::Missing(_))
    ));
}

#[test]
fn written_picture_reads_back() {
    let picture = scene(31, 17, 6);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    write_png(&path, &picture).unwrap();
    assert_eq!(
        crate::tasks::image::decode(&std::fs::read(&path).unwrap()).unwrap(),
        picture
    );

    let nowhere = folder.path().join("missing").join("picture.png");
    let message = write_png(&nowhere, &picture).unwrap_err().to_string();
    assert!(message.contains("missing/picture.png"), "{message}");
}

#[test]
fn a_map_by_itself_is_a_grey_png() {
    let map = [0.0, 0.5, 1.0, f32::NAN, -3.0, 7.0];
    let png = map_png(&map, [2, 3]).unwrap();
    let read = image::load_from_memory(&png).unwrap().into_luma8();
    assert_eq!(read.dimensions(), (3, 2));
    assert_eq!(read.into_raw(), [0, 128, 255, 0, 0, 255]);
    for size in [[2, 2], [0, 6], [usize::MAX, 2]] {
        assert!(matches!(map_png(&map, size), Err(DrawError::Map { .. })));
    }
    assert!(map_png(&[], [0, 0]).is_err());
}
