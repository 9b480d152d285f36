//! Drawing a map over its photograph, and writing PNG files.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{GrayImage, Rgb, RgbImage};

use super::grid::{Grid, GridError};
use super::image::Rect;
use super::inferno::{Inferno, luma};
use crate::partition::TokenRange;

/// Saturation of the photograph under the map.
const SATURATION: f32 = 0.35;
/// Brightness of the photograph where the map is zero.
const BRIGHTNESS: f32 = 0.62;
/// Opacity of the map where it is one.
const OPACITY: f32 = 0.72;
/// Stripes per shorter side of the photograph in the hatching of missing tokens.
const STRIPES: u32 = 40;

/// A map and its photograph.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    /// The photograph.
    pub original: &'a RgbImage,
    /// Values from 0 to 1 over the square input, row by row from the top.
    pub map: &'a [f32],
    /// Rows and columns of the map.
    pub map_size: [usize; 2],
    /// Rectangle of the photograph in the square input.
    pub content: Rect,
    /// Patches of the square input.
    pub grid: Grid,
    /// Tokens missing from the map.
    pub missing: &'a [TokenRange],
}

/// An image cannot be drawn or written.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// The map's number of values contradicts its size.
    #[error("map: found {values} values, expected {rows} rows of {columns} and at least one value")]
    Map {
        /// Values of the map.
        values: usize,
        /// Rows of the map.
        rows: usize,
        /// Columns of the map.
        columns: usize,
    },
    /// The photograph's rectangle is empty or not within the input.
    #[error("photograph: found it at {content:?}, expected it within an input of {size} pixels")]
    Content {
        /// The rectangle.
        content: Rect,
        /// Side of the input in pixels.
        size: u32,
    },
    /// Missing tokens that the input does not contain.
    #[error(transparent)]
    Missing(#[from] GridError),
    /// The image cannot be encoded as PNG.
    #[error("cannot encode the image as PNG: {0}")]
    Encode(String),
    /// The file cannot be written.
    #[error("{}: cannot write the image: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Draws the map over the photograph, at the photograph's resolution: dim and nearly grey where the map is zero, in the colours of the map
/// where it is one. Missing tokens are hatched. Values outside 0 to 1 are clamped; NaN counts as 0.
///
/// # Errors
/// The map's size, the rectangle of the photograph or the missing tokens do not fit the input.
pub fn draw(overlay: &Overlay<'_>) -> Result<RgbImage, DrawError> {
    let missing = check(overlay)?;
    let Overlay {
        original,
        map,
        map_size: [rows, columns],
        content,
        grid,
        ..
    } = *overlay;
    let (width, height) = original.dimensions();
    let across = positions(width, (content.x, content.width), &grid, columns);
    let down = positions(height, (content.y, content.height), &grid, rows);
    let stripe = (width.min(height) / STRIPES).max(2);
    let inferno = Inferno::new();

    let mut image = original.clone();
    for ((y, line), down) in image.enumerate_rows_mut().zip(down) {
        let values = map_row(map, columns, down.cell);
        let missing = missing
            .chunks_exact(grid.side())
            .nth(down.patch)
            .unwrap_or_default();
        for ((x, _, pixel), across) in line.zip(&across) {
            *pixel = if missing.get(across.patch) == Some(&true) {
                hatch(*pixel, (x + y) % (2 * stripe) < stripe)
            } else {
                blend(*pixel, across.cell.of(&values), &inferno)
            };
        }
    }
    Ok(image)
}

/// Writes an image as PNG.
///
/// # Errors
/// The file cannot be written.
pub fn write_png(path: &Path, image: &RgbImage) -> Result<(), DrawError> {
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        let encoder =
            PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive);
        image
            .write_with_encoder(encoder)
            .map_err(|error| match error {
                image::ImageError::IoError(error) => error,
                other => io::Error::other(other),
            })?;
        file.flush()
    };
    write().map_err(|source| DrawError::Write {
        path: path.to_path_buf(),
        source,
    })
}

/// Encodes a map as a grey PNG, white where it is one. Values outside 0 to 1 are clamped; NaN counts as 0.
///
/// # Errors
/// The map's number of values contradicts its size, or it cannot be encoded.
pub fn map_png(map: &[f32], [rows, columns]: [usize; 2]) -> Result<Vec<u8>, DrawError> {
    let values = map.len();
    let wrong = || DrawError::Map {
        values,
        rows,
        columns,
    };
    if values == 0 || rows.checked_mul(columns) != Some(values) {
        return Err(wrong());
    }
    // `as` saturates, and converts NaN to 0.
    let grey = map
        .iter()
        .map(|value| (value * 255.0 + 0.5) as u8)
        .collect();
    let (Ok(width), Ok(height)) = (u32::try_from(columns), u32::try_from(rows)) else {
        return Err(wrong());
    };
    let image = GrayImage::from_raw(width, height, grey);
    let image = image.ok_or_else(wrong)?;
    let mut png = Vec::new();
    let encoder = PngEncoder::new(&mut png);
    image
        .write_with_encoder(encoder)
        .map_err(|error| DrawError::Encode(error.to_string()))?;
    Ok(png)
}

/// Checks the input of [`draw`], and returns for every token whether it is missing.
fn check(overlay: &Overlay<'_>) -> Result<Vec<bool>, DrawError> {
    let [rows, columns] = overlay.map_size;
    let values = overlay.map.len();
    if values == 0 || rows.checked_mul(columns) != Some(values) {
        return Err(DrawError::Map {
            values,
            rows,
            columns,
        });
    }
    let (content, size) = (overlay.content, overlay.grid.size());
    let inside = |start: u32, length: u32| {
        length > 0 && start.checked_add(length).is_some_and(|end| end <= size)
    };
    if !inside(content.x, content.width) || !inside(content.y, content.height) {
        return Err(DrawError::Content { content, size });
    }
    let mut missing = vec![false; overlay.grid.tokens()];
    for range in overlay.missing {
        let tokens = overlay.grid.check(*range)?;
        missing
            .iter_mut()
            .take(tokens.end)
            .skip(tokens.start)
            .for_each(|token| *token = true);
    }
    Ok(missing)
}

/// Position of a row or column of the photograph in the input.
struct Position {
    /// Row or column of patches.
    patch: usize,
    /// Row or column of the map.
    cell: Interpolation,
}

/// Positions of all rows or columns of a photograph that covers `length` pixels of the input from `start` on.
fn positions(pixels: u32, (start, length): (u32, u32), grid: &Grid, cells: usize) -> Vec<Position> {
    let scale = f64::from(length) / f64::from(pixels.max(1));
    (0..pixels)
        .map(|pixel| {
            let middle = f64::from(start) + (f64::from(pixel) + 0.5) * scale;
            Position {
                patch: (middle / grid.patch() as f64) as usize,
                cell: Interpolation::new(middle / f64::from(grid.size()), cells),
            }
        })
        .collect()
}

/// Linear interpolation between two neighbouring cells.
#[derive(Clone, Copy, Debug)]
struct Interpolation {
    low: usize,
    high: usize,
    /// Weight of `high`.
    weight: f32,
}

impl Interpolation {
    /// At `position` from 0 to 1 over `cells` cells, at least one.
    fn new(position: f64, cells: usize) -> Self {
        let last = cells.saturating_sub(1);
        let middle = (position * cells as f64 - 0.5).clamp(0.0, last as f64);
        let low = middle as usize;
        Self {
            low,
            high: (low + 1).min(last),
            weight: (middle - low as f64) as f32,
        }
    }

    fn of(self, values: &[f32]) -> f32 {
        let at = |cell| values.get(cell).copied().unwrap_or(0.0);
        mix(at(self.low), at(self.high), self.weight)
    }
}

/// A row of the map interpolated between two of its rows, clamped to 0 to 1.
fn map_row(map: &[f32], columns: usize, at: Interpolation) -> Vec<f32> {
    let row = |row| map.chunks_exact(columns).nth(row).unwrap_or_default();
    let known = |value: &f32| {
        if value.is_nan() {
            0.0
        } else {
            value.clamp(0.0, 1.0)
        }
    };
    row(at.low)
        .iter()
        .zip(row(at.high))
        .map(|(low, high)| mix(known(low), known(high), at.weight))
        .collect()
}

fn mix(from: f32, to: f32, weight: f32) -> f32 {
    from + (to - from) * weight
}

/// A pixel of the photograph under a value of the map from 0 to 1.
fn blend(Rgb(pixel): Rgb<u8>, value: f32, inferno: &Inferno) -> Rgb<u8> {
    let pixel = pixel.map(f32::from);
    let grey = luma(pixel);
    let opacity = OPACITY * value.sqrt();
    // Shaded by the photograph's brightness, so that its shapes stay visible where the map is high.
    let light = 0.6 + 0.4 * grey / 255.0;
    let mut channels = [0; 3];
    for ((to, own), colour) in channels.iter_mut().zip(pixel).zip(inferno.at(value)) {
        let under = mix(grey, own, SATURATION) * BRIGHTNESS;
        *to = round(mix(under, colour * light, opacity));
    }
    Rgb(channels)
}

/// A pixel of a missing token.
fn hatch(Rgb(pixel): Rgb<u8>, stripe: bool) -> Rgb<u8> {
    let grey = luma(pixel.map(f32::from));
    let shade = if stripe { 150.0 } else { 85.0 };
    Rgb([round(mix(grey, shade, 0.7)); 3])
}

/// Rounds to the nearest, saturating. `f32::round` is a call into the C library on baseline x86-64.
fn round(channel: f32) -> u8 {
    (channel + 0.5) as u8
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
