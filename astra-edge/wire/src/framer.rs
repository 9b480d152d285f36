//! A member's token range as successive frames.

use core::ops::Range;

use crate::bits::Code;
use crate::error::EmitError;
use crate::frame;
use crate::header::CodeHeader;
use crate::layout::Layout;
use crate::limits::MAX_FRAME;

/// Writes the codes of a token range as successive frames, each into the same buffer of the caller.
///
/// Tokens are distributed evenly: the numbers of tokens of two frames differ by at most one.
#[derive(Clone, Debug)]
pub struct Framer<'a, C> {
    /// Template of every frame's header; its token range is what is still to be sent.
    header: CodeHeader,
    layout: Layout,
    /// Codes of the tokens still to be sent, token by token.
    codes: &'a [C],
    frames_left: u32,
}

impl<'a, C: Code> Framer<'a, C> {
    /// A framer of the header's whole token range, which may be longer than a frame. The header's part is ignored; each frame
    /// gets its own. `codes` holds [`Layout::codes_per_token`] codes for each token (`f32` values in exact mode).
    ///
    /// # Errors
    ///
    /// [`EmitError::Version`], [`EmitError::Header`], [`EmitError::Mismatch`] and [`EmitError::Codes`].
    pub fn new(header: CodeHeader, layout: Layout, codes: &'a [C]) -> Result<Self, EmitError> {
        let header = CodeHeader { part: 0, ..header };
        header.check_to_write()?;
        // One token fits a frame of every layout, so what is left to compare is the rung.
        layout.codes_in_frame(&CodeHeader {
            tokens: 1,
            ..header
        })?;
        let expected = usize::from(header.tokens) * usize::from(layout.codes_per_token());
        if codes.len() != expected {
            return Err(EmitError::Codes {
                found: codes.len(),
                expected,
            });
        }
        Ok(Self {
            header,
            layout,
            codes,
            frames_left: layout.frames(header.tokens),
        })
    }

    /// Frames still to come.
    #[must_use]
    pub fn frames_left(&self) -> u32 {
        self.frames_left
    }

    /// Writes the next frame to the front of `out` and returns its length, or `None` after the last.
    /// Bytes of `out` after the frame are untouched and leave room for the tag.
    ///
    /// # Errors
    ///
    /// [`EmitError::Pack`] if a code does not fit its bits; calling again then tries the same frame.
    #[inline]
    pub fn next_frame(&mut self, out: &mut [u8; MAX_FRAME]) -> Result<Option<usize>, EmitError> {
        if self.frames_left == 0 {
            return Ok(None);
        }
        let (header, range) = self.next_header();
        let codes = self.codes.get(range).unwrap_or_default();
        let length = frame::emit(&header, &self.layout, codes, out)?;
        self.advance(&header);
        Ok(Some(length))
    }

    /// The next frame's header, and where its codes lie in `self.codes`.
    fn next_header(&self) -> (CodeHeader, Range<usize>) {
        let mut header = self.header;
        if self.layout.parts() > 1 {
            header.tokens = 1;
            let range = self.layout.part_range(header.part).unwrap_or_default();
            return (header, range);
        }
        // Dividing the tokens left by the frames left, rounded up, distributes evenly; it is at most the tokens
        // of a frame, so it fits a u16.
        header.tokens = u32::from(header.tokens).div_ceil(self.frames_left) as u16;
        let codes = usize::from(header.tokens) * usize::from(self.layout.codes_per_token());
        (header, 0..codes)
    }

    /// Moves on to the next part, or after the last part to the next tokens.
    fn advance(&mut self, sent: &CodeHeader) {
        self.frames_left -= 1;
        if sent.part + 1 < self.layout.parts() {
            self.header.part = sent.part + 1;
            return;
        }
        let codes = usize::from(sent.tokens) * usize::from(self.layout.codes_per_token());
        self.codes = self.codes.get(codes..).unwrap_or_default();
        self.header.part = 0;
        // Wraps only after the last frame of a range that ends at token 65,535.
        self.header.first_token = sent.first_token.wrapping_add(sent.tokens);
        self.header.tokens -= sent.tokens;
    }
}
