//! A photograph in a file to the pixels of every token.

use astra_bundle::{Fit, ImageInput};
use image::RgbImage;
use image::imageops;

use super::grid::{Grid, patches};
pub use super::photograph::{ImageError, MAX_FILE, decode};
use super::resize::resize;

/// A photograph ready for the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Pixels of all tokens, patch-major `[T][y][x][RGB]`.
    pub pixels: Vec<u8>,
    /// The photograph as it was taken, upright.
    pub original: RgbImage,
    /// Where the photograph lies in the square input; the rest is padding. What is cropped fills the square.
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

/// Decodes a photograph, fits it into the model's square input and cuts that into patches.
///
/// `bytes` is a JPEG, PNG or WebP file. Its EXIF orientation is applied; transparency is dropped, as are frames of an animation
/// after the first.
///
/// # Errors
/// The file is no picture that is taken, does not decode, or the input of the model is impossible.
pub fn prepare(bytes: &[u8], spec: &ImageInput) -> Result<Prepared, ImageError> {
    let grid = Grid::new(spec)?;
    let original = decode(bytes)?;
    let content = place(original.dimensions(), grid.size(), spec.fit);
    let square = fit(&original, content, spec, grid.size());
    Ok(Prepared {
        pixels: patches(&square, &grid)?,
        original,
        content,
    })
}

/// Where a photograph of these dimensions goes in the square input; what is cropped fills it.
fn place((width, height): (u32, u32), size: u32, fit: Fit) -> Rect {
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
    let whole = match spec.fit {
        Fit::Pad | Fit::Stretch => (content.width, content.height),
        Fit::Crop | Fit::StretchCrop => before_crop(original.dimensions(), spec, size),
    };
    let (left, top) = (
        whole.0.saturating_sub(size) / 2,
        whole.1.saturating_sub(size) / 2,
    );
    let (across, down) = (left..left + content.width, top..top + content.height);
    let resized = resize(original, whole, across, down, spec.filter);
    if resized.dimensions() == (size, size) {
        return resized;
    }
    let mut square = RgbImage::new(size, size);
    imageops::replace(&mut square, &resized, content.x.into(), content.y.into());
    square
}

/// Width and height of a photograph whose middle is cut out, at least `size` each. The longer side is rounded down, as in
/// `get_resize_output_image_size` of the `transformers` library.
fn before_crop((width, height): (u32, u32), spec: &ImageInput, size: u32) -> (u32, u32) {
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
