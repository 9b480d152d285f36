//! Code frames that came in one message, one directly behind the other.

use crate::error::FrameError;
use crate::frame::{self, CodeFrame};
use crate::layout::Layout;

/// Reads a message's frames one after another. Where one ends follows from its header and the layout, so what comes after
/// bytes that are no frame cannot be found: the first error is the last item.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    /// What is still to be read; `None` behind the last frame.
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
