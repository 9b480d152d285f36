//! Samples of every depth and colour to RGB, with what Pillow's `convert("RGB")` gives.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::super::*;
use crate::tasks::samples::scene;

/// 8 x 8 pixels of CMYK (200, 60, 20, 40), as Pillow 13 writes them: a marker of Adobe, samples inverted.
const CMYK: &str = "\
    ffd8ffee000e41646f626500640000000000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c0c0b0a\
    0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc000140800080008044311004d11005911004b1100ff\
    c4001500010100000000000000000000000000000809ffc40014100100000000000000000000000000000000ffda000e0443004d005900\
    4b00003f001e166a3a743fffd9";
/// 8 x 8 pixels of RGB (200, 60, 20), as Pillow 13 writes them with `keep_rgb`: not converted to YCbCr.
const RGB: &str = "\
    ffd8ffee000e41646f626500640000000000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c0c0b0a\
    0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc00011080008000803521100471100421100ffc40015\
    00010100000000000000000000000000000809ffc40014100100000000000000000000000000000000ffda000c03520047004200003f00\
    600949beffd9";
/// Where the marker of Adobe begins and ends in both, and its number for how colours were converted.
const ADOBE: std::ops::Range<usize> = 2..18;
const TRANSFORM: usize = 17;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn assert_colour(file: &[u8], expected: [u8; 3]) {
    let image = decode(file).unwrap();
    assert_eq!(image.dimensions(), (8, 8));
    for pixel in image.pixels() {
        for (found, expected) in pixel.0.iter().zip(expected) {
            assert!(found.abs_diff(expected) <= 1, "{pixel:?}, not {expected:?}");
        }
    }
}

#[test]
fn jpeg_files_of_four_inks_and_of_rgb_have_the_colours_of_pillow() {
    let cmyk = bytes(CMYK);
    assert_colour(&cmyk, [46, 164, 198]);
    // Without the marker Pillow takes them for inverted all the same.
    let mut bare = cmyk.clone();
    bare.drain(ADOBE);
    assert_colour(&bare, [46, 164, 198]);
    let mut ycck = cmyk;
    ycck[TRANSFORM] = 2;
    assert_colour(&ycck, [42, 215, 68]);
    assert_colour(&bytes(RGB), [200, 60, 20]);
}

/// Of every sample of 16 bits the higher byte: Pillow's raw mode `RGB;16B`.
#[test]
fn of_deep_samples_the_higher_byte_counts() {
    const SAMPLES: [u16; 11] = [
        0, 0x80, 0xff, 0x100, 0x17f, 0x180, 0x8080, 0x80ff, 0xff7f, 0xff80, 0xffff,
    ];
    const EXPECTED: [u8; 11] = [0, 0, 0, 1, 1, 1, 128, 128, 255, 255, 255];
    for (color, channels) in [
        (ExtendedColorType::L16, 1),
        (ExtendedColorType::La16, 2),
        (ExtendedColorType::Rgb16, 3),
        (ExtendedColorType::Rgba16, 4),
    ] {
        let pixel = |value: &u16| {
            let mut pixel = vec![*value; channels];
            if channels % 2 == 0 {
                pixel[channels - 1] = 7;
            }
            pixel
        };
        let samples: Vec<u8> = SAMPLES
            .iter()
            .flat_map(pixel)
            .flat_map(u16::to_ne_bytes)
            .collect();
        let mut file = Vec::new();
        let encoder = PngEncoder::new(&mut file);
        encoder.write_image(&samples, 11, 1, color).unwrap();
        let found = decode(&file).unwrap();
        let expected: Vec<u8> = EXPECTED.iter().flat_map(|value| [*value; 3]).collect();
        assert_eq!(found.as_raw(), &expected, "{color:?}");
    }
}

/// What is clear keeps the colour it has in the file.
#[test]
fn transparency_is_dropped() {
    let image = scene(9, 7, 3);
    let clear = image::RgbaImage::from_fn(9, 7, |x, y| {
        let [red, green, blue] = image.get_pixel(x, y).0;
        image::Rgba([red, green, blue, (x * 20) as u8])
    });
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let mut file = Cursor::new(Vec::new());
        clear.write_to(&mut file, format).unwrap();
        assert_eq!(decode(file.get_ref()).unwrap(), image, "{format:?}");
    }
    let mut file = Vec::new();
    let encoder = PngEncoder::new(&mut file);
    let grey = [7, 0, 9, 255];
    encoder
        .write_image(&grey, 2, 1, ExtendedColorType::La8)
        .unwrap();
    assert_eq!(decode(&file).unwrap().as_raw(), &[7, 7, 7, 9, 9, 9]);
}
