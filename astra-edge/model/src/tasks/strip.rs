//! Compression of the pixels of one member's tokens, to be sent to it.
//!
//! A strip is one byte that identifies the codec, then an image of the smallest rectangle of patches that contains the token range:
//!
//! | byte | codec | used |
//! |---|---|---|
//! | 1 | JPEG, no chroma subsampling, quality [`QUALITY`] | with codes |
//! | 2 | WebP, lossless | in exact mode |
//!
//! Tokens of the rectangle outside the range are flat, which compresses to almost nothing; the receiver drops them. The range and the sizes
//! are known from the plan.
//!
//! A strip has no checksum: damaged bytes may decode to other pixels, so it must be sent over a link that detects damage.

use core::ops::Range;
use std::io::Cursor;

use astra_bundle::ImageInput;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::webp::{WebPDecoder, WebPEncoder};
use image::{ColorType, ExtendedColorType, ImageDecoder, ImageError};

use super::grid::{Band, Grid, GridError};
use crate::partition::TokenRange;

/// Quality of JPEG, 1 to 100. On photographs at 224 pixels a side this gives 38 to 42 dB, at 518 pixels 38 to 45 dB, in
/// about 0.35 and 0.3 of the bytes of the lossless codec; quality 95 takes a quarter more for 2 dB.
pub const QUALITY: u8 = 92;

/// Codec of a strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// Lossy.
    Jpeg = 1,
    /// Lossless. Takes a tenth fewer bytes than PNG at the same speed.
    WebP = 2,
}

/// A strip cannot be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum StripError {
    /// The tokens or pixels do not fit the model's input.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The image codec cannot encode it.
    #[error("a strip of {width} x {height} pixels cannot be compressed as {codec:?}: {source}")]
    Encode {
        /// The codec.
        codec: Codec,
        /// Width of the strip in pixels.
        width: u32,
        /// Height of the strip in pixels.
        height: u32,
        /// The codec's error.
        source: ImageError,
    },
    /// No bytes.
    #[error("strip: found no bytes, expected a JPEG or WebP picture")]
    Empty,
    /// An unknown codec.
    #[error("strip: found codec {found}, expected 1 (JPEG) or 2 (WebP)")]
    Codec {
        /// The strip's first byte.
        found: u8,
    },
    /// An image of another size or pixel format.
    #[error(
        "strip: found {width} x {height} pixels of {color:?}, expected {expected_width} x {expected_height} of Rgb8"
    )]
    Shape {
        /// Width found.
        width: u32,
        /// Height found.
        height: u32,
        /// Pixel format found.
        color: ColorType,
        /// Width of the token range in pixels.
        expected_width: u32,
        /// Height of the token range in pixels.
        expected_height: u32,
    },
    /// The strip ends before its image.
    #[error("the JPEG strip of {bytes} bytes does not end with an end marker: it is truncated")]
    Truncated {
        /// Size of the strip.
        bytes: usize,
    },
    /// The image codec cannot decode it.
    #[error("the {codec:?} strip of {bytes} bytes cannot be decoded: {source}")]
    Decode {
        /// The codec.
        codec: Codec,
        /// Size of the strip.
        bytes: usize,
        /// The codec's error.
        source: ImageError,
    },
}

/// Compresses the pixels of a token range.
///
/// `pixels` are those of **all** tokens, patch-major `[T][y][x][RGB]`.
///
/// # Errors
/// The range is not within the grid, or `pixels` is not of all its tokens.
pub fn encode(
    pixels: &[u8],
    range: TokenRange,
    spec: &ImageInput,
    lossless: bool,
) -> Result<Vec<u8>, StripError> {
    let grid = Grid::new(spec)?;
    let tokens = grid.check(range)?;
    let expected = grid.tokens() * grid.patch_bytes();
    if pixels.len() != expected {
        let found = pixels.len();
        return Err(GridError::Pixels { found, expected }.into());
    }
    let band = grid.band(&tokens);
    let image = band.draw(pixels, &tokens, fill_colours(pixels, &tokens, &grid));
    let codec = if lossless { Codec::WebP } else { Codec::Jpeg };

    let (width, height) = (band.width(), band.height());
    let mut strip = vec![codec as u8];
    match codec {
        Codec::Jpeg => JpegEncoder::new_with_quality(&mut strip, QUALITY).encode(
            &image,
            width,
            height,
            ExtendedColorType::Rgb8,
        ),
        Codec::WebP => WebPEncoder::new_lossless(&mut strip).encode(
            &image,
            width,
            height,
            ExtendedColorType::Rgb8,
        ),
    }
    .map_err(|source| StripError::Encode {
        codec,
        width,
        height,
        source,
    })?;
    Ok(strip)
}

/// Pixels of the tokens of `range`, patch-major `[t][y][x][RGB]`, from the bytes of [`encode`].
///
/// # Errors
/// The range is not within the grid, or the bytes are not an image of its size.
pub fn decode(strip: &[u8], range: TokenRange, spec: &ImageInput) -> Result<Vec<u8>, StripError> {
    let grid = Grid::new(spec)?;
    let tokens = grid.check(range)?;
    let band = grid.band(&tokens);
    let (kind, image) = strip.split_first().ok_or(StripError::Empty)?;
    let codec = match *kind {
        1 => Codec::Jpeg,
        2 => Codec::WebP,
        found => return Err(StripError::Codec { found }),
    };
    let error = |source| StripError::Decode {
        codec,
        bytes: strip.len(),
        source,
    };
    let image = match codec {
        Codec::Jpeg => {
            // The decoder fills missing pixels with grey without an error.
            if !image.ends_with(&[0xff, 0xd9]) {
                let bytes = strip.len();
                return Err(StripError::Truncated { bytes });
            }
            read(JpegDecoder::new(Cursor::new(image)), &band, error)?
        }
        Codec::WebP => read(WebPDecoder::new(Cursor::new(image)), &band, error)?,
    };
    Ok(band.cut(&image, &tokens))
}

/// Decodes an image, which must have the size of the band; that is checked before memory is allocated.
fn read<D: ImageDecoder>(
    decoder: Result<D, ImageError>,
    band: &Band,
    error: impl Fn(ImageError) -> StripError,
) -> Result<Vec<u8>, StripError> {
    let decoder = decoder.map_err(&error)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    if (width, height, color) != (band.width(), band.height(), ColorType::Rgb8) {
        return Err(StripError::Shape {
            width,
            height,
            color,
            expected_width: band.width(),
            expected_height: band.height(),
        });
    }
    let mut image = vec![0; band.bytes()];
    decoder.read_image(&mut image).map_err(error)?;
    Ok(image)
}

/// Colours for the patches before and after the range: the means of its first and last patch, so that no edge causes ringing artefacts
/// in these. Flat colours take fewer bytes than repeating the pixels at the edge.
fn fill_colours(pixels: &[u8], tokens: &Range<usize>, grid: &Grid) -> [[u8; 3]; 2] {
    [tokens.start, tokens.end.saturating_sub(1)].map(|token| {
        let patch = pixels.chunks_exact(grid.patch_bytes()).nth(token);
        mean(patch.unwrap_or_default())
    })
}

fn mean(patch: &[u8]) -> [u8; 3] {
    let (pixels, _) = patch.as_chunks::<3>();
    let sums = pixels.iter().fold([0usize; 3], |[r, g, b], pixel| {
        let [pr, pg, pb] = pixel.map(usize::from);
        [r + pr, g + pg, b + pb]
    });
    sums.map(|sum| u8::try_from(sum / pixels.len().max(1)).unwrap_or(u8::MAX))
}

#[cfg(test)]
#[path = "strip_tests.rs"]
mod tests;
