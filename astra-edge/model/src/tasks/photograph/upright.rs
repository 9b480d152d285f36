//! Orientation of the camera from a file's metadata.

use image::metadata::Orientation;
use image::{ImageDecoder, RgbImage, imageops};

/// Prefix that belongs to EXIF in JPEG, and that some programs also write in other formats.
const EXIF: &[u8] = b"Exif\0\0";
/// Signature of a PNG file.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Text before the number in XMP, as an attribute and as an element.
const XMP: [&[u8]; 2] = [b"tiff:Orientation=\"", b"tiff:Orientation>"];

/// The orientation in the EXIF metadata of a file, else in its XMP, as in Pillow's `ImageOps.exif_transpose`. Damaged metadata are
/// ignored.
pub(super) fn orientation(decoder: &mut impl ImageDecoder, file: &[u8]) -> Orientation {
    let exif = decoder.exif_metadata().ok().flatten();
    let exif = exif.as_deref().or_else(|| late_exif(file));
    let exif = exif.map(|exif| exif.strip_prefix(EXIF).unwrap_or(exif));
    if let Some(found) = exif.and_then(Orientation::from_exif_chunk) {
        return found;
    }
    let xmp = decoder.xmp_metadata().ok().flatten().unwrap_or_default();
    XMP.iter()
        .find_map(|before| {
            let at = xmp.windows(before.len()).position(|w| w == *before)?;
            let digit = xmp.get(at + before.len())?;
            Orientation::from_exif(digit.wrapping_sub(b'0'))
        })
        .unwrap_or(Orientation::NoTransforms)
}

/// The `eXIf` chunk of a PNG file, which may follow the pixels, where the decoder has not read yet.
fn late_exif(file: &[u8]) -> Option<&[u8]> {
    let mut rest = file.strip_prefix(PNG)?;
    loop {
        // Length, type, data, checksum (PNG specification, 5.3).
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let data = after.get(..length)?;
        if kind == b"eXIf" {
            return Some(data);
        }
        rest = after.get(length.checked_add(4)?..)?;
    }
}

/// Rotates and flips a stored photograph to be upright.
pub(super) fn turn(image: RgbImage, orientation: Orientation) -> RgbImage {
    let mut image = match orientation {
        Orientation::Rotate90 | Orientation::Rotate90FlipH => imageops::rotate90(&image),
        Orientation::Rotate270 | Orientation::Rotate270FlipH => imageops::rotate270(&image),
        _ => image,
    };
    match orientation {
        Orientation::Rotate180 => imageops::rotate180_in_place(&mut image),
        Orientation::FlipHorizontal | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            imageops::flip_horizontal_in_place(&mut image)
        }
        Orientation::FlipVertical => imageops::flip_vertical_in_place(&mut image),
        _ => {}
    }
    image
}
