//! A photograph in a file to pixels, upright.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::grid::GridError;

/// Largest file of a photograph that is taken, in bytes.
pub const MAX_FILE: usize = 48 << 20;
/// Largest photograph in pixels.
const MAX_PIXELS: u64 = 100_000_000;
/// Longest side of a photograph in pixels: a thin strip of few pixels can still take much memory to resize.
const MAX_SIDE: u32 = 16_384;
/// Most memory the decoder may ask for, in bytes: the largest photograph with 4 bytes a pixel.
const MAX_MEMORY: u64 = MAX_PIXELS * 4;
/// Bytes of a file that an error shows.
const SHOWN: usize = 8;

/// What can be read.
const SUPPORTED: &str = "JPEG, PNG or WebP";

/// A file is not a photograph that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Nothing in it.
    #[error("the image is empty: expected a {SUPPORTED} file")]
    Empty,
    /// Not an image of any known kind.
    #[error("not an image: {bytes} bytes that start with {start}; expected a {SUPPORTED} file")]
    NotAnImage {
        /// Size of the file.
        bytes: usize,
        /// Its first bytes, in hexadecimal and as text.
        start: String,
    },
    /// An image of a kind that is not read here.
    #[error("the image is {found:?}: expected a {SUPPORTED} file")]
    Format {
        /// What it is.
        found: ImageFormat,
    },
    /// The file ends before the image does.
    #[error(
        "the JPEG image stops after {bytes} bytes without its end marker: the file is truncated"
    )]
    Truncated {
        /// Size of the file.
        bytes: usize,
    },
    /// More pixels than a device should decode.
    #[error(
        "the image is {width} x {height} pixels: expected at most {MAX_SIDE} a side and {MAX_PIXELS} in all"
    )]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Damaged, truncated, or written in a way the decoder does not know.
    #[error("the {format:?} image of {bytes} bytes cannot be decoded: {source}")]
    Decode {
        /// What it claims to be.
        format: ImageFormat,
        /// Size of the file.
        bytes: usize,
        /// What the decoder says.
        source: image::ImageError,
    },
    /// The model's input is impossible.
    #[error(transparent)]
    Grid(#[from] GridError),
}

/// A JPEG, PNG or WebP file to pixels, upright.
///
/// # Errors
/// The file is of another kind, does not decode, or is too large.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let format = format(bytes)?;
    let error = |source| ImageError::Decode {
        format,
        bytes: bytes.len(),
        source,
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(error)?;

    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > MAX_SIDE || pixels > MAX_PIXELS || decoder.total_bytes() > MAX_MEMORY {
        return Err(ImageError::TooLarge { width, height });
    }
    // The decoder of JPEG fills what is missing with grey and says nothing.
    if format == ImageFormat::Jpeg && !jpeg_ends(bytes) {
        return Err(ImageError::Truncated { bytes: bytes.len() });
    }
    // Damaged metadata do not make the photograph worthless.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(error)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

fn format(bytes: &[u8]) -> Result<ImageFormat, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(found @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) => Ok(found),
        Ok(found) => Err(ImageError::Format { found }),
        Err(_) => Err(ImageError::NotAnImage {
            bytes: bytes.len(),
            start: start(bytes),
        }),
    }
}

/// The first bytes in hexadecimal and, where they can be printed, as text.
fn start(bytes: &[u8]) -> String {
    let shown: Vec<u8> = bytes.iter().take(SHOWN).copied().collect();
    let hex: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} (\"{}\")", hex.join(" "), shown.escape_ascii())
}

/// Whether a JPEG file has an end marker after its first scan. Metadata, which may hold a whole thumbnail with an end marker
/// of its own, come before that.
fn jpeg_ends(bytes: &[u8]) -> bool {
    const END: [u8; 2] = [0xff, 0xd9];
    let scan = jpeg_scan(bytes).unwrap_or(bytes);
    scan.windows(2).rev().any(|pair| pair == END)
}

/// What follows the header of the first scan, by walking the segments before it (ITU-T T.81, B.1.1).
fn jpeg_scan(bytes: &[u8]) -> Option<&[u8]> {
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = bytes.get(2..)?;
    loop {
        match rest {
            [0xff, 0xff, ..] => rest = rest.get(1..)?,
            [0xff, marker, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let after = rest.get(2 + length..)?;
                if *marker == START_OF_SCAN {
                    return Some(after);
                }
                rest = after;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
#[path = "photograph_tests.rs"]
mod tests;
