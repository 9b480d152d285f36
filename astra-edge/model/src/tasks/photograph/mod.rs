//! Decoding of image files to upright RGB pixels.
//!
//! The result equals Pillow's `ImageOps.exif_transpose(image).convert("RGB")`, as in the preprocessing of the `transformers` library:
//! transparency is dropped, colour profiles are ignored, and 16-bit samples are reduced to their high byte (grey ones too, which Pillow
//! clips).

mod jpeg;
mod kind;
mod upright;

use std::borrow::Cow;
use std::io::Cursor;

use image::{ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::grid::GridError;

/// Largest accepted file, in bytes.
pub const MAX_FILE: usize = 48 << 20;
/// Largest photograph in pixels.
const MAX_PIXELS: u64 = 100_000_000;
/// Longest side of a photograph in pixels: resizing and drawing allocate memory for each row and column.
const MAX_SIDE: u32 = 100_000;
/// Memory limit of the decoder in bytes: the largest photograph with 4 bytes per pixel.
const MAX_MEMORY: u64 = MAX_PIXELS * 4;
/// Bytes of a file shown in an error.
const SHOWN: usize = 8;

/// The accepted formats.
const SUPPORTED: &str = "a JPEG, PNG or WebP file";

/// A file is not an accepted photograph.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// An empty file.
    #[error("image: found an empty file, expected {SUPPORTED}")]
    Empty,
    /// Not an image of a known format.
    #[error("not an image: found {bytes} bytes that start with {start}, expected {SUPPORTED}")]
    NotAnImage {
        /// Size of the file.
        bytes: usize,
        /// Its first bytes, in hexadecimal and as text.
        start: String,
    },
    /// A format that is not supported.
    #[error("image: found {found}, expected {SUPPORTED}{advice}")]
    Format {
        /// The format.
        found: &'static str,
        /// How to convert it, after a semicolon; may be empty.
        advice: &'static str,
    },
    /// The file ends before its image.
    #[error(
        "JPEG image: found {bytes} bytes without an end marker, expected one: the file is truncated"
    )]
    Truncated {
        /// Size of the file.
        bytes: usize,
    },
    /// More pixels than the limits allow.
    #[error(
        "image: found {width} x {height} pixels of {pixel_bytes} bytes, expected at most {MAX_SIDE} a side, {MAX_PIXELS} \
         pixels and {MAX_MEMORY} bytes"
    )]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes of each pixel.
        pixel_bytes: u8,
    },
    /// Damaged, truncated, or of an unsupported encoding.
    #[error("{} image of {bytes} bytes: cannot be decoded: {source}", name(*.format))]
    Decode {
        /// Its format by the first bytes.
        format: ImageFormat,
        /// Size of the file.
        bytes: usize,
        /// The decoder's error.
        source: image::ImageError,
    },
    /// The model's input size is not supported.
    #[error(transparent)]
    Grid(#[from] GridError),
}

/// Decodes a JPEG, PNG or WebP file to upright pixels; of an animation, the first frame.
///
/// # Errors
/// The file has another format, cannot be decoded, or is too large.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    let format = format(bytes)?;
    let error = |source| ImageError::Decode {
        format,
        bytes: bytes.len(),
        source,
    };
    let whole = match format {
        ImageFormat::Jpeg => jpeg::with_tables(bytes),
        _ => Cow::Borrowed(bytes),
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(whole.as_ref()), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(error)?;

    let ((width, height), color) = (decoder.dimensions(), decoder.color_type());
    let (pixels, memory) = (u64::from(width) * u64::from(height), decoder.total_bytes());
    if width.max(height) > MAX_SIDE || pixels > MAX_PIXELS || memory > MAX_MEMORY {
        return Err(ImageError::TooLarge {
            width,
            height,
            pixel_bytes: color.bytes_per_pixel(),
        });
    }
    // The JPEG decoder fills missing pixels with grey without an error.
    if format == ImageFormat::Jpeg && !jpeg::ends(bytes) {
        return Err(ImageError::Truncated { bytes: bytes.len() });
    }
    let orientation = upright::orientation(&mut decoder, bytes);
    // At most `MAX_MEMORY`.
    let mut samples = vec![0; memory as usize];
    decoder.read_image(&mut samples).map_err(error)?;
    let samples = rgb(samples, color.channel_count(), color.bytes_per_pixel());
    let image = RgbImage::from_raw(width, height, samples);
    let image = image.ok_or(ImageError::TooLarge {
        width,
        height,
        pixel_bytes: color.bytes_per_pixel(),
    })?;
    Ok(upright::turn(image, orientation))
}

fn format(bytes: &[u8]) -> Result<ImageFormat, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(found @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) => Ok(found),
        _ => Err(match kind::of(bytes) {
            Some(kind::Kind { name, advice }) => ImageError::Format {
                found: name,
                advice,
            },
            None => ImageError::NotAnImage {
                bytes: bytes.len(),
                start: start(bytes),
            },
        }),
    }
}

/// The first bytes in hexadecimal and, where they can be printed, as text.
fn start(bytes: &[u8]) -> String {
    let shown: Vec<u8> = bytes.iter().take(SHOWN).copied().collect();
    let hex: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} (\"{}\")", hex.join(" "), shown.escape_ascii())
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        _ => "WebP",
    }
}

/// Converts samples of a decoder, in native byte order, to three bytes per pixel. Transparency is dropped.
fn rgb(mut samples: Vec<u8>, channels: u8, pixel_bytes: u8) -> Vec<u8> {
    let sample_bytes = usize::from(pixel_bytes / channels.max(1)).max(1);
    if sample_bytes > 1 {
        let highest = if cfg!(target_endian = "big") { 0 } else { 1 };
        let mut index = 0;
        samples.retain(|_| {
            index += 1;
            (index - 1) % sample_bytes == highest
        });
    }
    match channels {
        1 => samples.iter().flat_map(|grey| [*grey; 3]).collect(),
        2 => {
            let (pixels, _) = samples.as_chunks::<2>();
            pixels.iter().flat_map(|[grey, _]| [*grey; 3]).collect()
        }
        4 => {
            let mut index = 0;
            samples.retain(|_| {
                index += 1;
                index % 4 != 0
            });
            samples
        }
        _ => samples,
    }
}

#[cfg(test)]
mod tests;
