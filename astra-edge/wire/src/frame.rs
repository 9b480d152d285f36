//! One code frame: a header and bit-packed codes.
//!
//! ```text
//! +---------+--------+---------+-------+-------+--------+-------+--------+------+------+-----------+
//! | version | 1 flags| request | epoch | block | sender | first | tokens | part | rung | codes ... |
//! +---------+--------+---------+-------+-------+--------+-------+--------+------+------+-----------+
//! ```
//!
//! A frame can be read without any other: losing one loses its own tokens and nothing else.

use crate::bits::{self, Code, Unpack, packed_len};
use crate::error::{EmitError, FrameError};
use crate::header::CodeHeader;
use crate::layout::Layout;
use crate::limits::MAX_BODY;

/// A code frame as received, its header checked and its codes still packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeFrame<'a> {
    /// What the codes are.
    pub header: CodeHeader,
    /// The codes, packed as [`bits`] says.
    pub codes: &'a [u8],
}

/// Writes one frame to the front of `out` and returns its length, at most [`MAX_BODY`].
///
/// `codes` are those of the header's tokens, token by token, or of the header's part of its one token.
///
/// # Errors
///
/// [`EmitError`]; the content of `out` is then unspecified.
#[inline]
pub fn emit<C: Code>(
    header: &CodeHeader,
    layout: &Layout,
    codes: &[C],
    out: &mut [u8],
) -> Result<usize, EmitError> {
    header.check_to_write()?;
    let expected = layout.codes_in_frame(header)?;
    let found = codes.len();
    if found != expected {
        return Err(EmitError::Codes { found, expected });
    }
    let room = EmitError::Room {
        found: out.len(),
        needed: header.encoded_len() + packed_len(found, layout.bits()),
    };
    let start = header.write(out).ok_or(room)?;
    let body = out.get_mut(start..).ok_or(room)?;
    match bits::pack(codes, layout.bits(), body) {
        Ok(length) => Ok(start + length),
        Err(bits::PackError::Room { .. }) => Err(room),
        Err(error) => Err(error.into()),
    }
}

/// Reads one frame and checks its header. [`CodeFrame::codes`] and [`CodeFrame::read_into`] check and unpack the codes.
///
/// # Errors
///
/// [`FrameError`].
#[inline]
pub fn parse(bytes: &[u8]) -> Result<CodeFrame<'_>, FrameError> {
    if bytes.len() > MAX_BODY {
        return Err(FrameError::TooLong { found: bytes.len() });
    }
    let (header, codes) = CodeHeader::read(bytes)?;
    if codes.is_empty() {
        return Err(FrameError::Truncated);
    }
    Ok(CodeFrame { header, codes })
}

/// Reads the frame that `bytes` begin with, of a rung laid out as `layout`, and returns it with the bytes after it.
///
/// # Errors
///
/// [`FrameError`].
#[inline]
pub(crate) fn parse_first<'a>(
    bytes: &'a [u8],
    layout: &Layout,
) -> Result<(CodeFrame<'a>, &'a [u8]), FrameError> {
    let (header, rest) = CodeHeader::read(bytes)?;
    let length = packed_len(layout.codes_in_frame(&header)?, layout.bits());
    let (codes, rest) = rest.split_at_checked(length).ok_or(FrameError::Truncated)?;
    Ok((CodeFrame { header, codes }, rest))
}

impl<'a> CodeFrame<'a> {
    /// The codes, token by token. Any value of the layout's bits can appear, whatever the codebook's size;
    /// in exact mode any bit pattern of an `f32`, NaN included.
    ///
    /// # Errors
    ///
    /// [`FrameError::Mismatch`] if the frame does not belong to the layout, [`FrameError::Codes`] if its
    /// bytes are not what its header announces.
    #[inline]
    pub fn codes(&self, layout: &Layout) -> Result<Unpack<'a>, FrameError> {
        let count = layout.codes_in_frame(&self.header)?;
        Ok(bits::unpack(self.codes, layout.bits(), count)?)
    }

    /// Unpacks the codes into a slot of exactly their number, such as the one [`Layout::span`] names.
    ///
    /// # Errors
    ///
    /// As [`CodeFrame::codes`]; [`FrameError::Slot`] for a slot of another size, and [`FrameError::Codes`]
    /// for one of too narrow a type. The slot is untouched on error.
    #[inline]
    pub fn read_into<C: Code>(&self, layout: &Layout, slot: &mut [C]) -> Result<(), FrameError> {
        let count = layout.codes_in_frame(&self.header)?;
        if slot.len() != count {
            return Err(FrameError::Slot {
                found: slot.len(),
                expected: count,
            });
        }
        Ok(bits::unpack_into(self.codes, layout.bits(), slot)?)
    }
}
