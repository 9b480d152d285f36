//! How a photograph becomes the input of a model that sees.

use serde::{Deserialize, Serialize};

use crate::checks::{in_range, require};
use crate::error::Invalid;
use crate::shape::Shape;

/// Decoded pixels stay within what a small device can hold.
const MAX_IMAGE_SIDE: usize = 8_192;

/// How a photograph becomes the input of `embed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInput {
    /// Side of the square input in pixels.
    pub size: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// How a photograph that is not square fits in.
    pub fit: Fit,
    /// Filter it is resized with.
    #[serde(default)]
    pub filter: Filter,
    /// Side in pixels that a photograph is resized to before its middle is cut out; there for the fits that crop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<usize>,
    /// Height and width of the head's map, where the head answers one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_size: Option<[usize; 2]>,
    /// How members compute the map in parts, where its head is one that can be divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_rows: Option<HeadRows>,
}

/// A head that answers for rows of patches: `head_rows` makes scores of some rows, `head_finish` the map of all scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadRows {
    /// Rows of patches that `head_rows` looks at above those it answers for, and below.
    pub halo: usize,
    /// Rows of scores a row of patches, and columns of scores a column.
    pub scale: usize,
}

/// How a photograph that is not square becomes one that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The longest side becomes [`ImageInput::size`]; black fills the rest, half on either side.
    Pad,
    /// Both sides become [`ImageInput::size`].
    Stretch,
    /// The shortest side becomes [`ImageInput::resize`], the other keeps the aspect; then the middle square is cut out.
    Crop,
    /// Both sides become [`ImageInput::resize`]; then the middle square is cut out.
    StretchCrop,
}

impl Fit {
    /// Whether parts of a photograph are cut off.
    pub fn crops(self) -> bool {
        matches!(self, Self::Crop | Self::StretchCrop)
    }
}

/// Filter a photograph is resized with, as Pillow defines it: all but [`Filter::Nearest`] are widened when shrinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Nearest pixel.
    Nearest,
    /// Mean of the pixels covered.
    Box,
    /// Linear.
    #[default]
    Triangle,
    /// Sinc of one lobe with Hamming's window.
    Hamming,
    /// Cubic (Catmull-Rom).
    CatmullRom,
    /// Windowed sinc of three lobes.
    Lanczos3,
}

impl ImageInput {
    pub(crate) fn validate(&self, shape: &Shape) -> Result<(), Invalid> {
        in_range("image.size", self.size, 1..=MAX_IMAGE_SIDE)?;
        in_range("image.patch", self.patch, 1..=self.size)?;
        let side = self.size / self.patch;
        require(
            side * side == shape.tokens,
            "image.size",
            format!("{} with patches of {}", self.size, self.patch),
            format!("a size of {} patches", shape.tokens),
        )?;
        self.validate_resize()?;
        for side in self.map_size.iter().flatten() {
            in_range("image.map_size", *side, 1..=MAX_IMAGE_SIDE)?;
        }
        if let Some(rows) = self.head_rows {
            in_range("image.head_rows.halo", rows.halo, 0..=side)?;
            in_range(
                "image.head_rows.scale",
                rows.scale,
                1..=MAX_IMAGE_SIDE / side,
            )?;
        }
        Ok(())
    }

    fn validate_resize(&self) -> Result<(), Invalid> {
        let fit = self.fit;
        // Maps are drawn over the whole photograph.
        require(
            !(fit.crops() && self.map_size.is_some()),
            "image.fit",
            format!("{fit:?}"),
            "one that keeps the whole photograph, for a model that answers a map",
        )?;
        match self.resize {
            Some(side) if fit.crops() => in_range("image.resize", side, self.size..=MAX_IMAGE_SIDE),
            None if fit.crops() => Err(Invalid::new(
                "image.resize",
                "missing",
                "the side before the middle is cut out",
            )),
            Some(side) => Err(Invalid::new(
                "image.resize",
                side,
                format!("nothing for the fit {fit:?}"),
            )),
            None => Ok(()),
        }
    }
}
