//! Flags of a code frame.

/// How the codes of a frame are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Codes of the values themselves.
    pub const NONE: Self = Self(0);
    /// Codes of the difference to a prediction from the block before. A receiver whose bundle has no
    /// predictor cannot use such a frame.
    pub const PREDICTED: Self = Self(1);
    /// Every bit that has a meaning.
    pub const KNOWN: u8 = Self::PREDICTED.0;

    /// Whether the codes are of differences to a prediction.
    #[must_use]
    pub const fn is_predicted(self) -> bool {
        self.0 & Self::PREDICTED.0 != 0
    }

    /// The bits as they are on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Flags from the bits on the wire, or `None` if one of them has no meaning.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::KNOWN == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }
}
