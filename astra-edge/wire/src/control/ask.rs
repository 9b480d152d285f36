//! A client's question and its answer.

use serde::{Deserialize, Serialize};

use super::{ControlError, check_floats, octets};

/// How a question is to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskOptions {
    /// Rung to use, 0 for exact mode; `None` leaves it to the device.
    pub rung: Option<u16>,
    /// Answer on one device.
    pub alone: bool,
    /// Answer on one device too, and report the agreement.
    pub compare: bool,
    /// Milliseconds until the answer is due; 0 leaves it to the device.
    pub deadline_ms: u32,
    /// Most members to use; 0 leaves it to the device.
    pub max_members: u8,
}

/// A client's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask<'a> {
    /// How it is to be answered.
    pub options: AskOptions,
    /// The picture, as in its file.
    #[serde(borrow, with = "octets")]
    pub image: &'a [u8],
}

impl Ask<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        if self.image.is_empty() {
            return Err(ControlError::NoInput);
        }
        Ok(())
    }
}

/// The answer to [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer<'a> {
    /// What it took, as a JSON object.
    pub report: &'a str,
    /// Columns of the map.
    pub width: u16,
    /// Rows of the map.
    pub height: u16,
    /// The dense map, row by row: `f32`. Empty if either side is 0.
    #[serde(borrow, with = "octets")]
    pub map: &'a [u8],
    /// The class token: `f32`.
    #[serde(borrow, with = "octets")]
    pub cls: &'a [u8],
}

impl Answer<'_> {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        check_floats("cls", self.cls)?;
        let expected = u64::from(self.width) * u64::from(self.height) * 4;
        if self.map.len() as u64 == expected {
            return Ok(());
        }
        Err(ControlError::Map {
            found: self.map.len(),
            expected,
        })
    }
}
