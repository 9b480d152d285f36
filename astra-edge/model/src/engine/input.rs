//! Kinds of input, and the part of an input that one member needs.

use astra_bundle::Manifest;

use super::EngineError;
use super::error::slice;

/// The kind of input a model takes, and which of its tokens attend to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    /// Patches of an image; all attend to all.
    Image {
        /// Bytes of one token's pixels: patch * patch * 3.
        pixels: usize,
    },
    /// Token ids.
    Text {
        /// Whether a token attends only to itself and the tokens before it.
        causal: bool,
        /// Whether queries and keys are rotated by position.
        rotary: bool,
        /// Whether `embed` adds an embedding of the position.
        learned_positions: bool,
    },
}

/// The input of one member, or of all tokens.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Pixels of the divided tokens: [t, patch * patch * 3] bytes.
    Pixels(&'a [u8]),
    /// Ids of the class tokens, which every member computes, then of the divided tokens: [c + t].
    Ids(&'a [u32]),
}

impl Modality {
    /// The modality of a bundle's model.
    pub fn of(manifest: &Manifest) -> Self {
        match &manifest.text {
            Some(text) if manifest.family.is_text() => Self::Text {
                causal: manifest.family.is_causal(),
                rotary: text.rotary,
                learned_positions: text.learned_positions,
            },
            _ => Self::Image {
                pixels: manifest.image.as_ref().map_or(0, |image| {
                    image.patch.saturating_mul(image.patch).saturating_mul(3)
                }),
            },
        }
    }

    /// Whether a token attends only to itself and the tokens before it.
    pub fn is_causal(self) -> bool {
        matches!(self, Self::Text { causal: true, .. })
    }

    /// Whether `local` and `attend` take positions.
    pub(super) fn is_rotary(self) -> bool {
        matches!(self, Self::Text { rotary: true, .. })
    }
}

impl<'a> Input<'a> {
    /// The input of a member that owns `tokens` of `total` divided tokens; `class_tokens` are computed by every member.
    ///
    /// # Errors
    /// The input is of another number of tokens.
    pub fn part(
        self,
        tokens: core::ops::Range<usize>,
        total: usize,
        class_tokens: usize,
    ) -> Result<OwnedInput, EngineError> {
        match self {
            Self::Pixels(pixels) => {
                let width = pixels.len() / total.max(1);
                EngineError::length("pixels", pixels.len(), width * total)?;
                let own = tokens.start * width..tokens.end * width;
                Ok(OwnedInput::Pixels(slice("pixels", pixels, own)?.to_vec()))
            }
            Self::Ids(ids) => {
                EngineError::length("token ids", ids.len(), class_tokens + total)?;
                let class = slice("token ids", ids, 0..class_tokens)?;
                let own = class_tokens + tokens.start..class_tokens + tokens.end;
                Ok(OwnedInput::Ids(
                    [class, slice("token ids", ids, own)?].concat(),
                ))
            }
        }
    }
}

/// An [`Input`] that owns its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedInput {
    /// See [`Input::Pixels`].
    Pixels(Vec<u8>),
    /// See [`Input::Ids`].
    Ids(Vec<u32>),
}

impl OwnedInput {
    /// The input, borrowed.
    pub fn borrow(&self) -> Input<'_> {
        match self {
            Self::Pixels(pixels) => Input::Pixels(pixels),
            Self::Ids(ids) => Input::Ids(ids),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_gets_the_class_tokens_and_its_own() {
        let ids: Vec<u32> = (0..10).collect();
        let input = Input::Ids(&ids);
        let part = |tokens| input.part(tokens, 6, 4).unwrap();
        assert_eq!(part(0..2), OwnedInput::Ids(vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(part(2..6), OwnedInput::Ids(vec![0, 1, 2, 3, 6, 7, 8, 9]));
        assert!(input.part(0..2, 7, 4).is_err());
        assert_eq!(
            Input::Ids(&ids).part(3..5, 10, 0).unwrap(),
            OwnedInput::Ids(vec![3, 4])
        );
    }

    #[test]
    fn pixels_are_divided_by_tokens() {
        let pixels: Vec<u8> = (0..12).collect();
        let input = Input::Pixels(&pixels);
        assert_eq!(
            input.part(1..3, 4, 1).unwrap(),
            OwnedInput::Pixels(vec![3, 4, 5, 6, 7, 8])
        );
        assert!(input.part(1..3, 5, 1).is_err());
    }
}
