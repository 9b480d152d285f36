//! Which matrices a bundle gets.

use std::fmt;
use std::str::FromStr;

use super::Bits;

/// How the matrices of a bundle are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// The integers of the source where it has some that can be kept, else float32.
    Source,
    /// Float32.
    Float32,
    /// Quantized from float32.
    Quantized(Bits),
}

impl FromStr for Storage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "source" => Ok(Self::Source),
            "f32" => Ok(Self::Float32),
            "8" => Ok(Self::Quantized(Bits::Eight)),
            "4" => Ok(Self::Quantized(Bits::Four)),
            other => Err(format!("found {other:?}, expected source, 8, 4 or f32")),
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Float32 => "f32",
            Self::Quantized(Bits::Eight) => "8",
            Self::Quantized(Bits::Four) => "4",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["source", "f32", "8", "4"] {
            assert_eq!(name.parse::<Storage>().unwrap().to_string(), name);
        }
        let refusal = "6".parse::<Storage>().unwrap_err();
        assert_eq!(refusal, "found \"6\", expected source, 8, 4 or f32");
    }
}
