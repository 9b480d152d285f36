//! Values as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

/// Bits per token per block; 0 is exact mode, written `exact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung(pub u16);

impl FromStr for Rung {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) | Err(_) if text != "exact" => Err(format!(
                "rung: found {text:?}, expected bits per token per block, such as 320, or exact"
            )),
            Ok(bits) => Ok(Self(bits)),
            Err(_) => Ok(Self(0)),
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("exact"),
            bits => bits.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Rung {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u16),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(bits) => bits.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

/// `5s`, `800ms`.
///
/// # Errors
/// Not a time, or none at all.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = |why: &dyn std::fmt::Display| {
        format!("found {text:?}: {why}, expected a time such as 5s or 800ms")
    };
    let time = humantime::parse_duration(text).map_err(|error| wrong(&error))?;
    // A deadline travels as milliseconds in 32 bits, and 0 means none was named.
    if (1..=u128::from(u32::MAX)).contains(&time.as_millis()) {
        return Ok(time);
    }
    Err(wrong(&"not between 1 ms and 49 days"))
}
