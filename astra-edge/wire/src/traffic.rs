//! What can arrive on a code key.

use crate::control::{Control, ProbeFrame};
use crate::error::FrameError;
use crate::header::CODE_MARK;

/// A message from a code key. The highest bit of its second byte is set in a code frame and clear in a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic<'a> {
    /// Code frames, to be read by [`Frames`](crate::Frames): where one ends depends on the rung.
    Codes(&'a [u8]),
    /// Shows that frames of the sender arrive.
    Probe(ProbeFrame),
}

impl<'a> Traffic<'a> {
    /// Distinguishes code frames, which it does not read, from a probe, which it does.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; a control message other than a probe frame is [`FrameError::Kind`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let kind = bytes.get(1).copied().ok_or(FrameError::Truncated)?;
        if kind & CODE_MARK != 0 {
            return Ok(Self::Codes(bytes));
        }
        match Control::parse(bytes)? {
            Control::ProbeFrame(probe) => Ok(Self::Probe(probe)),
            _ => Err(FrameError::Kind { found: kind }),
        }
    }
}
