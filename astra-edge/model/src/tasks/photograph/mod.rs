//! A photograph in a file to pixels, upright.
//!
//! What comes out is what Pillow's `ImageOps.exif_transpose(image).convert("RGB")` gives, as in the preprocessing of the
//! `transformers` library: transparency is dropped, colour profiles are ignored, and of samples of 16 bits the higher byte
//! counts. (Of grey ones too, which Pillow clips instead.)

mod jpeg;
mod kind;
mod upright;

use std::borrow::Cow;
use std::io::Cursor;

use image::{ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::grid::GridError;

/// Largest file of a photograph that is taken, in bytes.
pub const MAX_FILE: usize = 48 << 20;
/// Largest photograph in pixels.
const MAX_PIXELS: u64 = 100_000_000;
/// Longest side of a photograph in pixels: of each row and column something is kept where a map is drawn or pixels are resized.
const MAX_SIDE: u32 = 100_000;
/// Most memory that decoding may ask for, in bytes: the largest photograph with 4 bytes a pixel.
const MAX_MEMORY: u64 = MAX_PIXELS * 4;
/// Bytes of a file that an error shows.
const SHOWN: usize = 8;

/// What can be read.
const SUPPORTED: &str = "a JPEG, PNG or WebP file";

/// A file is not a photograph that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Nothing in it.
    #[error("image: found an empty file, expected {SUPPORTED}")]
    Empty,
    /// Not an image of any known kind.
    #[error("not an image: found {bytes} bytes that start with {start}, expected {SUPPORTED}")]
    NotAnImage {
        /// Size of the file.
        bytes: usize,
        /// Its first bytes, in hexadecimal and as text.
        start: String,
    },
    /// A file of a kind that is not read here.
    #[error("image: found {found}, expected {SUPPORTED}{advice}")]
    Format {
        /// What it is.
        found: &'static str,
        /// How to get a file that is read, after a semicolon; may be empty.
        advice: &'static str,
    },
    /// The file ends before the image does.
    #[error(
        "JPEG image: found {bytes} bytes without an end marker, expected one: the file is cut short"
    )]
    Truncated {
        /// Size of the file.
        bytes: usize,
    },
    /// More pixels than a device should decode.
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
    /// Damaged, truncated, or written in a way the decoder does not know.
    #[error("{} image of {bytes} bytes: cannot be decoded: {source}", name(*.format))]
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

/// A JPEG, PNG or WebP file to pixels, upright. Of an animation the first frame.
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
    // The decoder of JPEG fills what is missing with grey and says nothing.
    if format == ImageFormat::Jpeg && !jpeg::ends(bytes) {
        return Err(ImageError::Truncated { bytes: bytes.len() });
    }
    let orientation = upright::orientation(&mut decoder, bytes);
    // Bounded above, well below what a machine can address.
    let mut samples = vec![0; usize::try_from(memory).unwrap_or_default()];
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

/// Samples of a decoder, in the machine's order of bytes, to three bytes a pixel. Transparency is dropped.
fn rgb(mut samples: Vec<u8>, channels: u8, pixel_bytes: u8) -> Vec<u8> {
    let sample_bytes = usize::from(pixel_bytes / channels.max(1)).max(1);
    if sample_bytes > 1 {
        let highest = if cfg!(target_endian = "big") { 0 } else { 1 };
        let mut place = 0;
        samples.retain(|_| {
            place += 1;
            (place - 1) % sample_bytes == highest
        });
    }
    match channels {
        1 => samples.iter().flat_map(|grey| [*grey; 3]).collect(),
        2 => {
            let (pixels, _) = samples.as_chunks::<2>();
            pixels.iter().flat_map(|[grey, _]| [*grey; 3]).collect()
        }
        4 => {
            let mut place = 0;
            samples.retain(|_| {
                place += 1;
                place % 4 != 0
            });
            samples
        }
        _ => samples,
    }
}

#[cfg(test)]
mod tests;
