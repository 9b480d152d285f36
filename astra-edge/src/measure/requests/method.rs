//! How requests are answered.

use serde::Serialize;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Method {
    /// The whole model on the coordinating device, as one graph.
    #[serde(rename = "one-device")]
    OneDevice,
    /// Tokens divided, codes exchanged.
    #[serde(rename = "astra")]
    Astra,
    /// Tokens divided, float32 exchanged: sequence parallelism.
    #[serde(rename = "sp-f32")]
    SpF32,
    /// The same with float16.
    #[serde(rename = "sp-f16")]
    SpF16,
    /// Heads and columns of the MLP divided, two all-reduces a block: tensor parallelism.
    #[serde(rename = "tp")]
    Tp,
    /// Sub-blocks side by side, an all-gather after every block: block parallelism.
    #[serde(rename = "bp-1")]
    Bp1,
    /// The same after every fourth block.
    #[serde(rename = "bp-4")]
    Bp4,
}

impl Method {
    /// The method of requests at a rung of `bits` bits per token per block; 0 in exact mode.
    pub fn of_rung(bits: u16) -> Self {
        match bits {
            0 => Self::SpF32,
            _ => Self::Astra,
        }
    }

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneDevice => "one-device",
            Self::Astra => "astra",
            Self::SpF32 => "sp-f32",
            Self::SpF16 => "sp-f16",
            Self::Tp => "tp",
            Self::Bp1 => "bp-1",
            Self::Bp4 => "bp-4",
        }
    }

    /// Whether its requests have a rung.
    pub(super) fn has_rungs(self) -> bool {
        matches!(self, Self::Astra | Self::SpF32 | Self::SpF16)
    }

    /// A remark that belongs to its figures.
    pub fn note(self) -> Option<&'static str> {
        match self {
            Self::Bp1 | Self::Bp4 => {
                Some("latency only: the method's weights need training of their own")
            }
            _ => None,
        }
    }
}
