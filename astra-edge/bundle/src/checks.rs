//! Checks of single values.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::error::Invalid;

/// Axes of a basis are 16 bits in the codebooks; no Transformer that runs on a small device comes near.
pub(crate) const MAX_HIDDEN: usize = 8_192;

pub(crate) fn require(
    holds: bool,
    field: impl Into<String>,
    found: impl Display,
    expected: impl Display,
) -> Result<(), Invalid> {
    if holds {
        return Ok(());
    }
    Err(Invalid::new(field, found, expected))
}

pub(crate) fn in_range(
    field: impl Into<String>,
    value: usize,
    range: RangeInclusive<usize>,
) -> Result<(), Invalid> {
    let expected = format!("{} to {}", range.start(), range.end());
    require(range.contains(&value), field, value, expected)
}
