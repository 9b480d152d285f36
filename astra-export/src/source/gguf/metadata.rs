//! Values of the metadata by key, in the types they are expected in.

use super::reader::{Gguf, Value};
use crate::source::Mismatch;

/// Items of an array that an error shows.
const SHOWN: usize = 4;

impl Gguf<'_> {
    fn wanted(&self, key: &str, expected: &str) -> Result<&Value, Mismatch> {
        self.get(key)
            .ok_or_else(|| Mismatch::missing(key, expected))
    }

    pub(super) fn text(&self, key: &str) -> Result<&str, Mismatch> {
        match self.wanted(key, "a string")? {
            Value::Text(text) => Ok(text),
            other => Err(Mismatch::new(key, other.shown(), "a string")),
        }
    }

    /// A string, if the key is there.
    pub(super) fn optional_text(&self, key: &str) -> Result<Option<&str>, Mismatch> {
        self.get(key).map(|_| self.text(key)).transpose()
    }

    /// A whole number; of an array of one number for each layer, that number where all are the same.
    pub(super) fn size(&self, key: &str) -> Result<usize, Mismatch> {
        let expected = "a whole number, the same in all layers";
        let value = self.wanted(key, expected)?;
        let size = match value {
            Value::Array(values) => match values.as_slice() {
                [first, rest @ ..] if rest.iter().all(|other| other == first) => first.whole(),
                _ => None,
            },
            value => value.whole(),
        };
        let size = size.and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| Mismatch::new(key, value.shown(), expected))
    }

    pub(super) fn size_or(&self, key: &str, default: usize) -> Result<usize, Mismatch> {
        match self.get(key) {
            Some(_) => self.size(key),
            None => Ok(default),
        }
    }

    /// The id of a token out of `vocab`, if the key is there.
    pub(super) fn id(&self, key: &str, vocab: usize) -> Result<Option<u32>, Mismatch> {
        if self.get(key).is_none() {
            return Ok(None);
        }
        let id = self.size(key)?;
        let known = u32::try_from(id).ok().filter(|_| id < vocab);
        let known = known.ok_or_else(|| Mismatch::new(key, id, format!("below {vocab}")));
        known.map(Some)
    }

    pub(super) fn float_or(&self, key: &str, default: f64) -> Result<f64, Mismatch> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .number()
                .ok_or_else(|| Mismatch::new(key, value.shown(), "a number")),
        }
    }

    /// A flag, if the key is there.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Mismatch> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(Mismatch::new(key, other.shown(), "true or false")),
        }
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<&str>, Mismatch> {
        let expected = "an array of strings";
        let value = self.wanted(key, expected)?;
        let texts = match value {
            Value::Array(values) => values
                .iter()
                .map(|value| match value {
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        texts.ok_or_else(|| Mismatch::new(key, value.shown(), expected))
    }

    /// `count` numbers or more, if the key is there.
    pub(super) fn numbers(&self, key: &str, count: usize) -> Result<Option<Vec<f64>>, Mismatch> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let numbers: Option<Vec<f64>> = match value {
            Value::Array(values) => values.iter().map(Value::number).collect(),
            _ => None,
        };
        let enough = numbers.filter(|numbers| numbers.len() >= count);
        let expected = format!("an array of {count} numbers");
        let enough = enough.ok_or_else(|| Mismatch::new(key, value.shown(), expected));
        enough.map(Some)
    }
}

impl Value {
    fn whole(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// As a float: of 64-bit integers beyond 2^53 the nearest.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Bool(_) | Self::Text(_) | Self::Array(_) => None,
        }
    }

    /// For errors: long arrays are cut.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Unsigned(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Text(value) => format!("{value:?}"),
            Self::Array(values) => {
                let shown: Vec<String> = values.iter().take(SHOWN).map(Self::shown).collect();
                let more = if values.len() > SHOWN { ", ..." } else { "" };
                let shown = shown.join(", ");
                format!("[{shown}{more}] ({} items)", values.len())
            }
        }
    }
}
