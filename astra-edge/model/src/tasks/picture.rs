//! A map drawn over the photograph it belongs to.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{GrayImage, Rgb, RgbImage};

use super::grid::{Grid, GridError};
use super::heat::{Inferno, luma};
use super::image::Rect;
use crate::partition::TokenRange;

/// Share of its colour that the photograph keeps under the map.
const SATURATION: f32 = 0.35;
/// Share of its light that the photograph keeps where the map is zero.
const DIM: f32 = 0.62;
/// Most that the map covers of the photograph.
const COVER: f32 = 0.72;
/// Stripes across the shorter side of the photograph, where tokens are missing.
const STRIPES: u32 = 40;

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    /// The photograph.
    pub original: &'a RgbImage,
    /// One value from 0 to 1 a cell, rows from the top; covers the whole square input.
    pub map: &'a [f32],
    /// Rows and columns of the map.
    pub map_size: [usize; 2],
    /// Where the photograph lies in the square input.
    pub content: Rect,
    /// The square input.
    pub grid: Grid,
    /// Tokens that the map was computed without.
    pub missing: &'a [TokenRange],
}

/// A picture cannot be drawn or written.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The map has another number of values than its size says.
    #[error("map: found {values} values, expected {rows} rows of {columns} and at least one value")]
    Map {
        /// Values there are.
        values: usize,
        /// Rows of the map.
        rows: usize,
        /// Columns of the map.
        columns: usize,
    },
    /// The photograph is said to lie outside the input, or to be nowhere.
    #[error("photograph: found it at {content:?}, expected it within an input of {size} pixels")]
    Content {
        /// Where it is said to lie.
        content: Rect,
        /// Side of the input in pixels.
        size: u32,
    },
    /// Missing tokens that the input does not have.
    #[error(transparent)]
    Missing(#[from] GridError),
    /// The picture cannot be made a PNG.
    #[error("cannot encode the picture: {0}")]
    Encode(String),
    /// The file cannot be written.
    #[error("{}: cannot write the picture: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Draws the map over the photograph, at the photograph's resolution: grey and dim where the map is zero, glowing where it
/// is one. Missing tokens are hatched. Values outside 0 to 1 are clamped; NaN counts as 0.
///
/// # Errors
/// The map, the place of the photograph or the missing tokens do not fit each other.
pub fn overlay(overlay: &Overlay<'_>) -> Result<RgbImage, PictureError> {
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
    let across = places(width, (content.x, content.width), &grid, columns);
    let down = places(height, (content.y, content.height), &grid, rows);
    let stripe = (width.min(height) / STRIPES).max(2);
    let inferno = Inferno::new();

    let mut picture = original.clone();
    for ((y, line), down) in picture.enumerate_rows_mut().zip(down) {
        let values = map_row(map, columns, down.cell);
        let missing = missing
            .chunks_exact(grid.side())
            .nth(down.patch)
            .unwrap_or_default();
        for ((x, _, pixel), across) in line.zip(&across) {
            *pixel = if missing.get(across.patch) == Some(&true) {
                hatch(*pixel, (x + y) % (2 * stripe) < stripe)
            } else {
                glow(*pixel, across.cell.of(&values), &inferno)
            };
        }
    }
    Ok(picture)
}

/// Writes a picture as PNG.
///
/// # Errors
/// [`PictureError::Write`]
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<(), PictureError> {
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        let encoder =
            PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive);
        picture
            .write_with_encoder(encoder)
            .map_err(|error| match error {
                image::ImageError::IoError(error) => error,
                other => io::Error::other(other),
            })?;
        file.flush()
    };
    write().map_err(|source| PictureError::Write {
        path: path.to_path_buf(),
        source,
    })
}

/// A map by itself as a grey PNG, white where it is one. Values outside 0 to 1 are clamped; NaN counts as 0.
///
/// # Errors
/// The map has not as many values as its sides say, or cannot be encoded.
pub fn map_png(map: &[f32], [rows, columns]: [usize; 2]) -> Result<Vec<u8>, PictureError> {
    let values = map.len();
    let wrong = || PictureError::Map {
        values,
        rows,
        columns,
    };
    if values == 0 || rows.checked_mul(columns) != Some(values) {
        return Err(wrong());
    }
    // `as` saturates, and makes 0 of NaN.
    let grey = map
        .iter()
        .map(|value| (value * 255.0 + 0.5) as u8)
        .collect();
    let (Ok(width), Ok(height)) = (u32::try_from(columns), u32::try_from(rows)) else {
        return Err(wrong());
    };
    let picture = GrayImage::from_raw(width, height, grey);
    let picture = picture.ok_or_else(wrong)?;
    let mut png = Vec::new();
    let encoder = PngEncoder::new(&mut png);
    picture
        .write_with_encoder(encoder)
        .map_err(|error| PictureError::Encode(error.to_string()))?;
    Ok(png)
}

/// Checks what [`overlay`] relies on and says of every token whether it is missing.
fn check(overlay: &Overlay<'_>) -> Result<Vec<bool>, PictureError> {
    let [rows, columns] = overlay.map_size;
    let values = overlay.map.len();
    if values == 0 || rows.checked_mul(columns) != Some(values) {
        return Err(PictureError::Map {
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
        return Err(PictureError::Content { content, size });
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

/// Where a row or column of the photograph lies in the input.
struct Place {
    /// Row or column of patches.
    patch: usize,
    /// Row or column of the map.
    cell: Between,
}

/// Places of all rows or columns of a photograph that is spread from `start` over `length` pixels of the input.
fn places(pixels: u32, (start, length): (u32, u32), grid: &Grid, cells: usize) -> Vec<Place> {
    let scale = f64::from(length) / f64::from(pixels.max(1));
    (0..pixels)
        .map(|pixel| {
            let middle = f64::from(start) + (f64::from(pixel) + 0.5) * scale;
            Place {
                patch: (middle / grid.patch() as f64) as usize,
                cell: Between::new(middle / f64::from(grid.size()), cells),
            }
        })
        .collect()
}

/// A place between the middles of two neighbours of a row of cells.
#[derive(Clone, Copy, Debug)]
struct Between {
    low: usize,
    high: usize,
    /// Share of the higher one.
    share: f32,
}

impl Between {
    /// `place` is from 0 to 1 over `cells` cells, of which there is at least one.
    fn new(place: f64, cells: usize) -> Self {
        let last = cells.saturating_sub(1);
        let middle = (place * cells as f64 - 0.5).clamp(0.0, last as f64);
        let low = middle as usize;
        Self {
            low,
            high: (low + 1).min(last),
            share: (middle - low as f64) as f32,
        }
    }

    fn of(self, values: &[f32]) -> f32 {
        let at = |cell| values.get(cell).copied().unwrap_or(0.0);
        mix(at(self.low), at(self.high), self.share)
    }
}

/// A row of the map between two of its rows, every value from 0 to 1.
fn map_row(map: &[f32], columns: usize, at: Between) -> Vec<f32> {
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
        .map(|(low, high)| mix(known(low), known(high), at.share))
        .collect()
}

fn mix(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

/// A pixel of the photograph under a value from 0 to 1.
fn glow(Rgb(pixel): Rgb<u8>, value: f32, inferno: &Inferno) -> Rgb<u8> {
    let pixel = pixel.map(f32::from);
    let grey = luma(pixel);
    let cover = COVER * value.sqrt();
    // The photograph's light also shades the colour, or form would drown where the map is strong.
    let light = 0.6 + 0.4 * grey / 255.0;
    let mut channels = [0; 3];
    for ((to, own), hot) in channels.iter_mut().zip(pixel).zip(inferno.at(value)) {
        let under = mix(grey, own, SATURATION) * DIM;
        *to = rounded(mix(under, hot * light, cover));
    }
    Rgb(channels)
}

/// A pixel of the photograph that nothing is known about.
fn hatch(Rgb(pixel): Rgb<u8>, stripe: bool) -> Rgb<u8> {
    let grey = luma(pixel.map(f32::from));
    let shade = if stripe { 150.0 } else { 85.0 };
    Rgb([rounded(mix(grey, shade, 0.7)); 3])
}

/// To the nearest, and saturating. `f32::round` is a call into the C library on a plain x86-64.
fn rounded(channel: f32) -> u8 {
    (channel + 0.5) as u8
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
