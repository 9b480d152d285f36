//! A photograph in a file to the pixels of every token.

use astra_bundle::{Filter, Fit, ImageInput};
use image::RgbImage;
use image::imageops::{self, FilterType};

use super::grid::{Grid, patches};
use super::photograph::MAX_MEMORY;
pub use super::photograph::{ImageError, MAX_FILE, decode};

/// A photograph ready for the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Pixels of all tokens, patch-major `[T][y][x][RGB]`.
    pub pixels: Vec<u8>,
    /// The photograph as it was taken, upright.
    pub original: RgbImage,
    /// Where the photograph lies in the square input; the rest is padding.
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
    check_strip(&original, content)?;
    let square = fit(&original, content, grid.size(), filter(spec.filter));
    Ok(Prepared {
        pixels: patches(&square, &grid)?,
        original,
        content,
    })
}

/// Where a photograph of these dimensions goes in a square of `size`.
fn place((width, height): (u32, u32), size: u32, fit: Fit) -> Rect {
    let longest = u64::from(width.max(height).max(1));
    let scaled = |side: u32| match fit {
        Fit::Stretch => size,
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

/// Refuses a strip so long that resizing it takes too much memory: its columns are resized first, to four 32-bit numbers a pixel.
fn check_strip(original: &RgbImage, content: Rect) -> Result<(), ImageError> {
    const PIXEL_BYTES: u64 = 16;
    let (width, height) = original.dimensions();
    let rows = content.height;
    if u64::from(width) * u64::from(rows) * PIXEL_BYTES > MAX_MEMORY {
        return Err(ImageError::Strip {
            width,
            height,
            rows,
        });
    }
    Ok(())
}

fn fit(original: &RgbImage, content: Rect, size: u32, filter: FilterType) -> RgbImage {
    let resized = imageops::resize(original, content.width, content.height, filter);
    if resized.dimensions() == (size, size) {
        return resized;
    }
    let mut square = RgbImage::new(size, size);
    imageops::replace(&mut square, &resized, content.x.into(), content.y.into());
    square
}

fn filter(filter: Filter) -> FilterType {
    match filter {
        Filter::Nearest => FilterType::Nearest,
        Filter::Triangle => FilterType::Triangle,
        Filter::CatmullRom => FilterType::CatmullRom,
        Filter::Lanczos3 => FilterType::Lanczos3,
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
