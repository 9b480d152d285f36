//! A member's token range as successive frames.

use crate::bits::Code;
use crate::error::EmitError;
use crate::frame;
use crate::header::CodeHeader;
use crate::layout::Layout;
use crate::limits::MAX_FRAME;
use crate::side_info::SideInfo;
use crate::split::Split;

/// Writes the codes of a token range as successive frames, each into the same buffer of the caller.
///
/// Tokens are distributed evenly: the numbers of tokens of two frames differ by at most one.
#[derive(Clone, Debug)]
pub struct Framer<'a, C> {
    /// Template of every frame's header; its first token is the next to be sent.
    header: CodeHeader,
    layout: Layout,
    /// Tokens still to be sent.
    split: Split,
    /// First-stage codes of the tokens still to be sent, token by token.
    codes: &'a [C],
    /// What belongs to them.
    side: SideInfo<'a>,
    frames_left: u32,
}

/// One frame of a framer.
struct Next<'a, C> {
    header: CodeHeader,
    codes: &'a [C],
    side: SideInfo<'a>,
}

impl<'a, C: Code> Framer<'a, C> {
    /// A framer of the header's whole token range, which may be longer than a frame. The header's part is ignored; each frame
    /// gets its own. `codes` holds [`Layout::codes_per_token`] codes for each token (`f32` values in exact mode), `side` what
    /// belongs to each of the ranges that [`Layout::split`] yields.
    ///
    /// # Errors
    ///
    /// [`EmitError::Version`], [`EmitError::Header`], [`EmitError::Mismatch`], [`EmitError::Codes`], [`EmitError::Positions`],
    /// [`EmitError::RefinedCodes`] and [`EmitError::Means`].
    pub fn new(
        header: CodeHeader,
        layout: Layout,
        codes: &'a [C],
        side: SideInfo<'a>,
    ) -> Result<Self, EmitError> {
        let header = CodeHeader { part: 0, ..header };
        header.check_to_write()?;
        // One token fits a frame of every layout, so what is left to compare is the rung.
        layout.codes_in_frame(&CodeHeader {
            tokens: 1,
            ..header
        })?;
        let expected = usize::from(header.tokens) * usize::from(layout.codes_per_token());
        frame::check_counts(
            (codes.len(), expected),
            &side,
            (
                layout.refined_of_all(header.tokens),
                layout.means_of_all(header.tokens),
            ),
            &layout,
        )?;
        Ok(Self {
            header,
            layout,
            split: layout.split(header.tokens),
            codes,
            side,
            frames_left: layout.frames(header.tokens),
        })
    }

    /// Frames still to come.
    #[must_use]
    pub fn frames_left(&self) -> u32 {
        self.frames_left
    }

    /// Bytes of codes, positions and mean in the next frame, which has them after its header; 0 after the last.
    #[must_use]
    pub fn next_body_len(&self) -> usize {
        match self.frames_left {
            0 => 0,
            _ => self
                .layout
                .body_len(self.split.next_size(), self.header.part),
        }
    }

    /// Writes the next frame to the front of `out` and returns its length, or `None` after the last.
    /// Bytes of `out` after the frame are untouched and leave room for the tag.
    ///
    /// # Errors
    ///
    /// [`EmitError::Pack`] if a code does not fit its bits, [`EmitError::Position`] if positions do not ascend; calling again then
    /// tries the same frame.
    #[inline]
    pub fn next_frame(&mut self, out: &mut [u8; MAX_FRAME]) -> Result<Option<usize>, EmitError> {
        if self.frames_left == 0 {
            return Ok(None);
        }
        let next = self.next_content();
        let length = frame::emit(&next.header, &self.layout, next.codes, next.side, out)?;
        self.advance(&next);
        Ok(Some(length))
    }

    /// The next frame. Were the lengths checked in `new` wrong, there would be too few codes, which `emit` refuses.
    fn next_content(&self) -> Next<'a, C> {
        let mut header = self.header;
        header.tokens = self.split.next_size();
        let codes = match self.layout.parts() {
            1 => 0..usize::from(header.tokens) * usize::from(self.layout.codes_per_token()),
            _ => self.layout.part_range(header.part).unwrap_or_default(),
        };
        let refined = usize::from(self.layout.refined(header.tokens));
        let refinement = self.layout.refinement();
        let second = refined * refinement.map_or(0, |second| usize::from(second.codes));
        let mean = self.layout.mean_len(header.tokens);
        Next {
            header,
            codes: self.codes.get(codes).unwrap_or_default(),
            side: SideInfo {
                means: self.side.means.get(..mean).unwrap_or_default(),
                positions: self.side.positions.get(..refined).unwrap_or_default(),
                codes: self.side.codes.get(..second).unwrap_or_default(),
            },
        }
    }

    /// Moves on to the next part, or after the last part to the next tokens.
    fn advance(&mut self, sent: &Next<'a, C>) {
        self.frames_left -= 1;
        if sent.header.part + 1 < self.layout.parts() {
            self.header.part = sent.header.part + 1;
            return;
        }
        let tokens = sent.header.tokens;
        let codes = usize::from(tokens) * usize::from(self.layout.codes_per_token());
        self.codes = self.codes.get(codes..).unwrap_or_default();
        let (
            SideInfo {
                means,
                positions,
                codes,
            },
            left,
        ) = (sent.side, self.side);
        self.side = SideInfo {
            means: left.means.get(means.len()..).unwrap_or_default(),
            positions: left.positions.get(positions.len()..).unwrap_or_default(),
            codes: left.codes.get(codes.len()..).unwrap_or_default(),
        };
        self.split.next();
        self.header.part = 0;
        // Wraps only after the last frame of a range that ends at token 65,535.
        self.header.first_token = sent.header.first_token.wrapping_add(tokens);
    }
}
