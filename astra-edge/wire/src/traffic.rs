//! What can arrive on a code key.

use crate::control::{Control, Probe};
use crate::error::FrameError;
use crate::header::CODE_MARK;

/// A message from a code key. The second byte tells the two apart: its highest bit is set in a code frame
/// and clear in a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic<'a> {
    /// Code frames, to be read by [`Frames`](crate::Frames): where one ends depends on the rung.
    Codes(&'a [u8]),
    /// A sign that the sender's frames arrive.
    Probe(Probe),
}

impl<'a> Traffic<'a> {
    /// Reads whichever it is.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; a control message other than a probe is [`FrameError::Kind`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let kind = bytes.get(1).copied().ok_or(FrameError::Truncated)?;
        if kind & CODE_MARK != 0 {
            return Ok(Self::Codes(bytes));
        }
        match Control::parse(bytes)? {
            Control::Probe(probe) => Ok(Self::Probe(probe)),
            _ => Err(FrameError::Kind { found: kind }),
        }
    }
}
