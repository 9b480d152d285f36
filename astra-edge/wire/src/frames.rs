//! The code frames of one received message, one directly after the other.

use crate::error::FrameError;
use crate::frame::{self, CodeFrame};
use crate::layout::Layout;

/// Iterates over the frames of a message. Where one ends follows from its header and the layout, so nothing after an unreadable
/// frame can be found: the first error is the last item.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    /// Bytes not yet read; `None` after the last frame.
    rest: Option<&'a [u8]>,
    layout: Layout,
}

impl<'a> Frames<'a> {
    /// The frames in `bytes`, at least one, of a rung laid out as `layout`.
    #[must_use]
    pub fn new(bytes: &'a [u8], layout: Layout) -> Self {
        Self {
            rest: Some(bytes),
            layout,
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<CodeFrame<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let read = frame::parse_first(self.rest.take()?, &self.layout);
        Some(read.map(|(frame, rest)| {
            self.rest = Some(rest).filter(|rest| !rest.is_empty());
            frame
        }))
    }
}
