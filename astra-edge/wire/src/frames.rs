//! The code frames of one received message, one directly after the other.

use crate::error::FrameError;
use crate::frame::{self, CodeFrame};
use crate::layout::Layout;

/// Iterates over the frames of a message. Where one ends follows from its header and its block's layout, so nothing after an
/// unreadable frame can be found: the first error is the last item.
#[derive(Clone, Debug)]
pub struct Frames<'a, 'l> {
    /// Bytes not yet read; `None` after the last frame.
    rest: Option<&'a [u8]>,
    layouts: &'l [Layout],
}

impl<'a, 'l> Frames<'a, 'l> {
    /// The frames in `bytes`, at least one, of a rung that has one of `layouts` in each block, from block 0 on.
    #[must_use]
    pub fn new(bytes: &'a [u8], layouts: &'l [Layout]) -> Self {
        Self {
            rest: Some(bytes),
            layouts,
        }
    }
}

impl<'a> Iterator for Frames<'a, '_> {
    type Item = Result<CodeFrame<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let read = frame::parse_first(self.rest.take()?, self.layouts);
        Some(read.map(|(frame, rest)| {
            self.rest = Some(rest).filter(|rest| !rest.is_empty());
            frame
        }))
    }
}
