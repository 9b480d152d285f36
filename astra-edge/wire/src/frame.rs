//! One code frame: a header, bit-packed codes, those of the refined tokens, and the mean.
//!
//! ```text
//! +---------+--------+---------+-------+-------+--------+-------+--------+------+------+
//! | version | 1 flags| request | epoch | block | sender | first | tokens | part | rung |
//! +---------+--------+---------+-------+-------+--------+-------+--------+------+------+
//! | first-stage codes ...   | positions of refined tokens ... | second-stage codes ... | mean ... |
//! +-------------------------+---------------------------------+------------------------+----------+
//! ```
//!
//! A frame can be read without any other: losing one loses its own tokens and nothing else.

use crate::bits::{self, Code, Unpack};
use crate::error::{EmitError, FrameError, MismatchError, PositionError};
use crate::header::CodeHeader;
use crate::layout::Layout;
use crate::limits::MAX_BODY;
use crate::sections::{Section, Sections};
use crate::side_info::SideInfo;

/// A code frame as received, its header checked and its codes still packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeFrame<'a> {
    /// What the codes are.
    pub header: CodeHeader,
    /// The codes, positions and mean; codes and positions are packed as [`bits`] says.
    pub body: &'a [u8],
}

/// The content of a frame, checked.
#[derive(Clone, Debug)]
pub struct FrameCodes<'a> {
    /// First-stage codes, token by token; in exact mode bit patterns of `f32`.
    pub first: Unpack<'a>,
    /// Refined tokens relative to the frame's first, strictly ascending and below the frame's tokens.
    pub positions: Unpack<'a>,
    /// Second-stage codes of the refined tokens, token by token.
    pub second: Unpack<'a>,
    /// The mean of the frame as it was packed; empty where the frame has none.
    pub mean: &'a [u8],
}

/// Writes one frame to the front of `out` and returns its length, at most [`MAX_BODY`].
///
/// `codes` are those of the header's tokens, token by token, or of the header's part of its one token; `side` is what
/// belongs to them.
///
/// # Errors
///
/// [`EmitError`]; the content of `out` is then unspecified.
#[inline]
pub fn emit<C: Code>(
    header: &CodeHeader,
    layout: &Layout,
    codes: &[C],
    side: SideInfo<'_>,
    out: &mut [u8],
) -> Result<usize, EmitError> {
    header.check_to_write()?;
    let sections = layout.sections(header)?;
    check_counts(
        (codes.len(), sections.first.count),
        &side,
        (sections.positions.count, sections.mean),
        layout,
    )?;
    let room = EmitError::Room {
        found: out.len(),
        needed: header.encoded_len() + sections.packed_len(),
    };
    let mut length = header.write(out).ok_or(room)?;
    length += pack(codes, sections.first, length, out, room)?;
    check_positions(side.positions.iter().copied().map(u32::from), header)?;
    length += pack(side.positions, sections.positions, length, out, room)?;
    length += pack(side.codes, sections.second, length, out, room)?;
    let end = length + sections.mean;
    let mean = out.get_mut(length..end).ok_or(room)?;
    mean.copy_from_slice(side.means);
    Ok(end)
}

/// Packs one section into `out` from byte `start` on. Returns its bytes.
fn pack<C: Code>(
    codes: &[C],
    section: Section,
    start: usize,
    out: &mut [u8],
    room: EmitError,
) -> Result<usize, EmitError> {
    let out = out.get_mut(start..).ok_or(room)?;
    bits::pack(codes, section.bits, out).map_err(|error| match error {
        bits::PackError::Room { .. } => room,
        error => error.into(),
    })
}

/// Checks the numbers of first-stage codes, found and expected, and of refined tokens, their codes and bytes of means.
pub(crate) fn check_counts(
    codes: (usize, usize),
    side: &SideInfo<'_>,
    (refined, means): (usize, usize),
    layout: &Layout,
) -> Result<(), EmitError> {
    if codes.0 != codes.1 {
        let (found, expected) = codes;
        return Err(EmitError::Codes { found, expected });
    }
    let (found, expected) = (side.positions.len(), refined);
    if found != expected {
        return Err(EmitError::Positions { found, expected });
    }
    let refinement = layout.refinement();
    let expected = refined * refinement.map_or(0, |second| usize::from(second.codes));
    let found = side.codes.len();
    if found != expected {
        return Err(EmitError::RefinedCodes { found, expected });
    }
    let (found, expected) = (side.means.len(), means);
    if found != expected {
        return Err(EmitError::Means { found, expected });
    }
    Ok(())
}

/// Checks that positions ascend and are of the header's tokens.
fn check_positions(
    positions: impl Iterator<Item = u32>,
    header: &CodeHeader,
) -> Result<(), PositionError> {
    let mut least = 0;
    for found in positions {
        if found < least || found >= u32::from(header.tokens) {
            return Err(PositionError {
                found,
                least,
                tokens: header.tokens,
            });
        }
        least = found + 1;
    }
    Ok(())
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
    let (header, body) = CodeHeader::read(bytes)?;
    if body.is_empty() {
        return Err(FrameError::Truncated);
    }
    Ok(CodeFrame { header, body })
}

/// Reads the frame that `bytes` begin with, whose block is laid out as `layouts` has it, and returns it with the bytes after it.
///
/// # Errors
///
/// [`FrameError`].
#[inline]
pub(crate) fn parse_first<'a>(
    bytes: &'a [u8],
    layouts: &[Layout],
) -> Result<(CodeFrame<'a>, &'a [u8]), FrameError> {
    let (header, rest) = CodeHeader::read(bytes)?;
    let layout = layouts
        .get(usize::from(header.block))
        .ok_or(MismatchError::Block {
            found: header.block,
            blocks: layouts.len(),
        })?;
    let length = layout.sections(&header)?.packed_len();
    let (body, rest) = rest.split_at_checked(length).ok_or(FrameError::Truncated)?;
    Ok((CodeFrame { header, body }, rest))
}

impl<'a> CodeFrame<'a> {
    /// The codes, positions and mean. Any value of the layout's bits can appear as a code, whatever the codebook's size;
    /// in exact mode any bit pattern of an `f32`, NaN included.
    ///
    /// # Errors
    ///
    /// [`FrameError::Mismatch`] if the frame does not belong to the layout, [`FrameError::Codes`] if its
    /// bytes are not what its header announces, [`FrameError::Position`] if positions do not ascend below its tokens.
    #[inline]
    pub fn codes(&self, layout: &Layout) -> Result<FrameCodes<'a>, FrameError> {
        let sections = layout.sections(&self.header)?;
        let (first, rest) = self.divide(&sections)?;
        let first = bits::unpack(first, sections.first.bits, sections.first.count)?;
        let (positions, second, mean) = self.side_info(&sections, rest)?;
        Ok(FrameCodes {
            first,
            positions,
            second,
            mean,
        })
    }

    /// Unpacks the first-stage codes into a slot of exactly their number, such as the one [`Layout::span`] names. What follows
    /// them is checked and left out.
    ///
    /// # Errors
    ///
    /// As [`CodeFrame::codes`]; [`FrameError::Slot`] for a slot of another size, and [`FrameError::Codes`]
    /// for one of too narrow a type. The slot is untouched on error.
    #[inline]
    pub fn read_into<C: Code>(&self, layout: &Layout, slot: &mut [C]) -> Result<(), FrameError> {
        let sections = layout.sections(&self.header)?;
        if slot.len() != sections.first.count {
            return Err(FrameError::Slot {
                found: slot.len(),
                expected: sections.first.count,
            });
        }
        let (first, rest) = self.divide(&sections)?;
        self.side_info(&sections, rest)?;
        Ok(bits::unpack_into(first, sections.first.bits, slot)?)
    }

    /// The bytes of the first-stage codes and those after them.
    fn divide(&self, sections: &Sections) -> Result<(&'a [u8], &'a [u8]), FrameError> {
        let (found, expected) = (self.body.len(), sections.packed_len());
        let divided = self.body.split_at_checked(sections.first.packed_len());
        match divided {
            Some(divided) if found == expected => Ok(divided),
            _ => Err(bits::UnpackError::Length { found, expected }.into()),
        }
    }

    /// The refined tokens, their codes and the mean, in `bytes`.
    fn side_info(
        &self,
        sections: &Sections,
        bytes: &'a [u8],
    ) -> Result<(Unpack<'a>, Unpack<'a>, &'a [u8]), FrameError> {
        let Sections {
            positions, second, ..
        } = sections;
        let (places, rest) = bytes
            .split_at_checked(positions.packed_len())
            .ok_or(FrameError::Truncated)?;
        let (codes, mean) = rest
            .split_at_checked(second.packed_len())
            .ok_or(FrameError::Truncated)?;
        let places = bits::unpack(places, positions.bits, positions.count)?;
        check_positions(places.clone(), &self.header)?;
        let codes = bits::unpack(codes, second.bits, second.count)?;
        Ok((places, codes, mean))
    }
}
