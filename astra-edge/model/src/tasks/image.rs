//! The model's input pixels from an image file.

use astra_bundle::{Fit, ImageInput};
use image::RgbImage;
use image::imageops;

use super::grid::{Grid, patches};
pub use super::photograph::{ImageError, MAX_FILE, decode};
use super::resize::resize;

/// A photograph and the model's input pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Pixels of all tokens, patch-major `[T][y][x][RGB]`.
    pub pixels: Vec<u8>,
    /// The decoded photograph, upright.
    pub original: RgbImage,
    /// Rectangle of the photograph in the square input; the rest is padding. A cropped photograph fills the square.
    pub content: Rect,
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// Decodes a photograph, resizes it to the model's square input and divides that into patches.
///
/// `bytes` is a JPEG, PNG or WebP file. Its EXIF orientation is applied; transparency is dropped, as are frames of an animation
/// after the first.
///
/// # Errors
/// The file has another format, cannot be decoded, or the model's input size is not supported.
pub fn prepare(bytes: &[u8], spec: &ImageInput) -> Result<Prepared, ImageError> {
    let grid = Grid::new(spec)?;
    let original = decode(bytes)?;
    let content = content_rect(original.dimensions(), grid.size(), spec.fit);
    let square = fit(&original, content, spec, grid.size());
    Ok(Prepared {
        pixels: patches(&square, &grid)?,
        original,
        content,
    })
}

/// Rectangle of a photograph of these dimensions in the square input.
fn content_rect((width, height): (u32, u32), size: u32, fit: Fit) -> Rect {
    let longest = u64::from(width.max(height).max(1));
    let scaled = |side: u32| match fit {
        Fit::Stretch | Fit::Crop | Fit::StretchCrop => size,
        Fit::Pad => {
            let rounded = (2 * u64::from(side) * u64::from(size) + longest) / (2 * longest);
            u32::try_from(rounded).unwrap_or(size).clamp(1, size)
        }
    };
    let (width, height) = (scaled(width), scaled(height));
    Rect {
        x: (size - width) / 2,
        y: (size - height) / 2,
        width,
        height,
    }
}

fn fit(original: &RgbImage, content: Rect, spec: &ImageInput, size: u32) -> RgbImage {
    let full = match spec.fit {
        Fit::Pad | Fit::Stretch => (content.width, content.height),
        Fit::Crop | Fit::StretchCrop => size_before_crop(original.dimensions(), spec, size),
    };
    let (left, top) = (
        full.0.saturating_sub(size) / 2,
        full.1.saturating_sub(size) / 2,
    );
    let (across, down) = (left..left + content.width, top..top + content.height);
    let resized = resize(original, full, across, down, spec.filter);
    if resized.dimensions() == (size, size) {
        return resized;
    }
    let mut square = RgbImage::new(size, size);
    imageops::replace(&mut square, &resized, content.x.into(), content.y.into());
    square
}

/// Width and height to which a photograph is resized before its center is cropped, at least `size` each. The longer side is rounded down,
/// as in `get_resize_output_image_size` of the `transformers` library.
fn size_before_crop((width, height): (u32, u32), spec: &ImageInput, size: u32) -> (u32, u32) {
    let side = spec.resize.and_then(|side| u32::try_from(side).ok());
    let side = side.unwrap_or(size).max(size);
    if spec.fit == Fit::StretchCrop {
        return (side, side);
    }
    let shortest = u64::from(width.min(height).max(1));
    let scaled = |length: u32| {
        let length = u64::from(side) * u64::from(length) / shortest;
        u32::try_from(length).unwrap_or(u32::MAX).max(side)
    };
    (scaled(width), scaled(height))
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
