//! Patches of the square input, and conversion between pixel orders.
//!
//! Two orders of the same RGB bytes:
//! - **image**: rows of pixels, top to bottom, each left to right;
//! - **patch-major** `[tokens][y][x][RGB]`: the input of `embed`. Tokens are numbered row by row.

use core::ops::Range;

use astra_bundle::ImageInput;
use image::RgbImage;

use crate::partition::TokenRange;

/// Largest number of tokens; a token's position is 16 bits on the wire.
const MAX_TOKENS: usize = u16::MAX as usize;

/// A square input cut into square patches. The largest one has 65,025 patches; no product of its sizes overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Side of the input in pixels.
    size: u32,
    /// Side of a patch in pixels.
    patch: usize,
    /// Patches along a side. Pixels after the last whole patch are not used.
    side: usize,
}

/// An input cannot be divided into patches, or pixels do not fit the grid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// No whole patch fits, or too many do.
    #[error(
        "input: found {size} pixels with patches of {patch}, expected a patch of at least 1 pixel, \
         an input of at most 8192, and 1 to {MAX_TOKENS} patches"
    )]
    Shape {
        /// Side of the input in pixels.
        size: usize,
        /// Side of a patch in pixels.
        patch: usize,
    },
    /// An empty range, or tokens that the grid does not have.
    #[error("tokens: found {first}..{end}, expected at least one, all within an input of {total}")]
    Range {
        /// First token of the range.
        first: usize,
        /// End of the range, exclusive.
        end: usize,
        /// Tokens of the input.
        total: usize,
    },
    /// A buffer of another size than the range.
    #[error("pixels: found {found} bytes, expected {expected}")]
    Pixels {
        /// Bytes of the buffer.
        found: usize,
        /// Bytes of the range.
        expected: usize,
    },
}

impl Grid {
    /// Largest side of an input in pixels, as in a bundle's manifest.
    const MAX_SIZE: usize = 8_192;

    /// The grid of a model's input.
    ///
    /// # Errors
    /// The size is beyond what is supported, or no whole number of patches fits it.
    pub fn new(spec: &ImageInput) -> Result<Self, GridError> {
        let (size, patch) = (spec.size, spec.patch);
        let error = GridError::Shape { size, patch };
        if size > Self::MAX_SIZE {
            return Err(error);
        }
        let side = size.checked_div(patch).unwrap_or(0);
        match u32::try_from(size) {
            Ok(size) if (1..=MAX_TOKENS).contains(&(side * side)) => Ok(Self { size, patch, side }),
            _ => Err(error),
        }
    }

    /// Side of the input in pixels.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Side of a patch in pixels.
    pub fn patch(&self) -> usize {
        self.patch
    }

    /// Patches along a side.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Patches, and so tokens, of the whole input: T.
    pub fn tokens(&self) -> usize {
        self.side * self.side
    }

    /// Bytes of one patch.
    pub fn patch_bytes(&self) -> usize {
        self.patch * self.line_bytes()
    }

    /// Bytes of one row of pixels of one patch.
    pub fn line_bytes(&self) -> usize {
        self.patch * 3
    }

    /// The tokens of a range as indexes, checked to be within the grid and not empty.
    ///
    /// # Errors
    /// [`GridError::Range`]
    pub fn check(&self, range: TokenRange) -> Result<Range<usize>, GridError> {
        let tokens = range.indexes();
        if tokens.is_empty() || tokens.end > self.tokens() {
            return Err(GridError::Range {
                first: tokens.start,
                end: tokens.end,
                total: self.tokens(),
            });
        }
        Ok(tokens)
    }

    /// Smallest rectangle of patches that contains the tokens; as wide as the input if they span more than one row.
    pub(crate) fn band(&self, tokens: &Range<usize>) -> Band {
        let last = tokens.end.saturating_sub(1);
        let rows = tokens.start / self.side..last / self.side + 1;
        let columns = if rows.len() == 1 {
            tokens.start % self.side..last % self.side + 1
        } else {
            0..self.side
        };
        Band {
            grid: *self,
            rows,
            columns,
        }
    }

    fn full(&self) -> Band {
        Band {
            grid: *self,
            rows: 0..self.side,
            columns: 0..self.side,
        }
    }
}

/// A rectangle of patches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    grid: Grid,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Band {
    /// Width in pixels.
    pub(crate) fn width(&self) -> u32 {
        pixels(self.columns.len() * self.grid.patch)
    }

    /// Height in pixels.
    pub(crate) fn height(&self) -> u32 {
        pixels(self.rows.len() * self.grid.patch)
    }

    /// Bytes of its pixels.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() * self.columns.len() * self.grid.patch_bytes()
    }

    /// Token, and row of pixels within its patch, of every [`Grid::line_bytes`] bytes in image order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (side, patch, columns) = (self.grid.side, self.grid.patch, self.columns.clone());
        self.rows.clone().flat_map(move |row| {
            let columns = columns.clone();
            (0..patch)
                .flat_map(move |y| columns.clone().map(move |column| (row * side + column, y)))
        })
    }

    /// Converts patch-major pixels of the whole input to an image of this band. Patches of tokens before and after `tokens` are filled
    /// with the given colours.
    pub(crate) fn draw(
        &self,
        patches: &[u8],
        tokens: &Range<usize>,
        [before, after]: [[u8; 3]; 2],
    ) -> Vec<u8> {
        let mut image = vec![0; self.bytes()];
        let line = self.grid.line_bytes();
        for (to, (token, y)) in image.chunks_exact_mut(line).zip(self.lines()) {
            if tokens.contains(&token) {
                let from = patches.chunks_exact(line).nth(token * self.grid.patch + y);
                if let Some(from) = from {
                    to.copy_from_slice(from);
                }
            } else {
                let colour = if token < tokens.start { before } else { after };
                to.as_chunks_mut().0.fill(colour);
            }
        }
        image
    }

    /// Converts an image of this band to patch-major pixels of `tokens`, which must be within it.
    pub(crate) fn cut(&self, image: &[u8], tokens: &Range<usize>) -> Vec<u8> {
        let mut patches = vec![0; tokens.len() * self.grid.patch_bytes()];
        let line = self.grid.line_bytes();
        for (from, (token, y)) in image.chunks_exact(line).zip(self.lines()) {
            let Some(own) = token.checked_sub(tokens.start) else {
                continue;
            };
            let to = patches
                .chunks_exact_mut(line)
                .nth(own * self.grid.patch + y);
            if let Some(to) = to {
                to.copy_from_slice(from);
            }
        }
        patches
    }
}

/// Lengths within a [`Grid`] are at most [`Grid::MAX_SIZE`].
fn pixels(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Converts a square image to patch-major pixels of all tokens. Pixels after the last whole patch are left out.
///
/// # Errors
/// The image does not have the size of the input.
pub fn patches(square: &RgbImage, grid: &Grid) -> Result<Vec<u8>, GridError> {
    let size = grid.size as usize;
    let expected = size * size * 3;
    if square.dimensions() != (grid.size, grid.size) {
        return Err(GridError::Pixels {
            found: square.as_raw().len(),
            expected,
        });
    }
    let (used, row) = (grid.side * grid.line_bytes(), size * 3);
    let full = grid.full();
    if used == row {
        return Ok(full.cut(square.as_raw(), &(0..grid.tokens())));
    }
    let cropped: Vec<u8> = square
        .as_raw()
        .chunks_exact(row)
        .take(grid.side * grid.patch)
        .flat_map(|row| row.iter().take(used).copied())
        .collect();
    Ok(full.cut(&cropped, &(0..grid.tokens())))
}

/// Converts patch-major pixels of all tokens to an image: the inverse of [`patches`] if patches fill the input.
///
/// # Errors
/// The pixels are not of all tokens.
pub fn unpatch(pixels: &[u8], grid: &Grid) -> Result<RgbImage, GridError> {
    let expected = grid.tokens() * grid.patch_bytes();
    let error = GridError::Pixels {
        found: pixels.len(),
        expected,
    };
    if pixels.len() != expected {
        return Err(error);
    }
    let full = grid.full();
    let image = full.draw(pixels, &(0..grid.tokens()), [[0; 3]; 2]);
    RgbImage::from_raw(full.width(), full.height(), image).ok_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::samples::{noise, spec};

    fn grid(size: usize, patch: usize) -> Grid {
        Grid::new(&spec(size, patch)).unwrap()
    }

    fn range(first: u16, tokens: u16) -> TokenRange {
        TokenRange { first, tokens }
    }

    /// Red counts columns, green rows: the order of every byte shows.
    #[test]
    fn patch_order() {
        let square = RgbImage::from_fn(4, 4, |x, y| image::Rgb([x as u8, y as u8, 9]));
        let grid = grid(4, 2);
        #[rustfmt::skip]
        let golden = [
            0, 0, 9,  1, 0, 9,   0, 1, 9,  1, 1, 9, // token 0: top left
            2, 0, 9,  3, 0, 9,   2, 1, 9,  3, 1, 9, // token 1: top right
            0, 2, 9,  1, 2, 9,   0, 3, 9,  1, 3, 9, // token 2: bottom left
            2, 2, 9,  3, 2, 9,   2, 3, 9,  3, 3, 9, // token 3: bottom right
        ];
        assert_eq!(patches(&square, &grid).unwrap(), golden);
        assert_eq!(unpatch(&golden, &grid).unwrap(), square);
    }

    #[test]
    fn largest_input_of_a_known_model_round_trips() {
        let grid = grid(518, 14);
        assert_eq!(grid.tokens(), 1369);
        let square = noise(518, 518, 1);
        let pixels = patches(&square, &grid).unwrap();
        assert_eq!(pixels.len(), 1369 * 14 * 14 * 3);
        assert_eq!(unpatch(&pixels, &grid).unwrap(), square);
    }

    #[test]
    fn pixels_past_the_last_patch_belong_to_none() {
        let square = noise(11, 11, 2);
        let grid = grid(11, 5);
        let seen = unpatch(&patches(&square, &grid).unwrap(), &grid).unwrap();
        let expected = image::imageops::crop_imm(&square, 0, 0, 10, 10).to_image();
        assert_eq!(seen, expected);
    }

    #[test]
    fn impossible_grids_are_refused() {
        for (size, patch) in [
            (0, 14),
            (224, 0),
            (13, 14),
            (8_193, 64),
            (256, 1),
            (usize::MAX, 1),
        ] {
            assert_eq!(
                Grid::new(&spec(size, patch)),
                Err(GridError::Shape { size, patch })
            );
        }
        assert_eq!(grid(255, 1).tokens(), 65_025);
    }

    #[test]
    fn ranges_outside_are_refused() {
        let grid = grid(8, 2);
        assert_eq!(grid.check(range(3, 13)), Ok(3..16));
        for (first, tokens) in [(0, 0), (16, 1), (15, 2), (u16::MAX, u16::MAX)] {
            assert!(
                matches!(
                    grid.check(range(first, tokens)),
                    Err(GridError::Range { total: 16, .. })
                ),
                "{first} {tokens}"
            );
        }
    }

    #[test]
    fn band_hugs_the_tokens() {
        let grid = grid(8, 2);
        for (tokens, width, height) in [
            (5..7, 4, 2),
            (0..4, 8, 2),
            (3..5, 8, 4),
            (15..16, 2, 2),
            (0..16, 8, 8),
        ] {
            let band = grid.band(&tokens);
            assert_eq!((band.width(), band.height()), (width, height), "{tokens:?}");
        }
    }
}
