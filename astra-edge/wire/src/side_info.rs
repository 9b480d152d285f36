//! What a sender adds to the first-stage codes of its tokens.

/// Means, refined tokens and their codes, of one frame or of several, one after another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideInfo<'a> {
    /// The mean of each frame that has one, [`Layout::mean_len`](crate::Layout::mean_len) bytes each, as `astra-codec` packs it.
    pub means: &'a [u8],
    /// The refined tokens of each frame, relative to the frame's first token and ascending.
    pub positions: &'a [u16],
    /// Their second-stage codes, token by token.
    pub codes: &'a [u16],
}

impl SideInfo<'_> {
    /// Of a layout without means and without a second stage.
    pub const NONE: Self = Self {
        means: &[],
        positions: &[],
        codes: &[],
    };
}
