//! Rotary positions: `rope_theta` and `rope_scaling`, and `rope_parameters`, which transformers 5 writes instead.
//!
//! Which of them counts is decided as in transformers 5 (`modeling_rope_utils.py`, `convert_rope_params_to_dict`): `rope_scaling`
//! goes before `rope_parameters`, the base within them before `rope_theta`.

use std::f64::consts::TAU;

use serde_json::{Map, Value as Json};

use super::fields::shown;
use crate::source::Mismatch;

/// The base where a configuration has none.
const THETA: f64 = 10_000.0;

/// Parameters that are read.
const READ: [&str; 8] = [
    "rope_theta",
    "rope_type",
    "type",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
];
/// Parameters of types of scaling that are refused; with the others they change nothing.
const OF_OTHER_TYPES: [&str; 9] = [
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "short_factor",
    "long_factor",
    "finetuned",
];

/// Rotary positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rope {
    /// Base of the frequencies.
    pub(super) theta: f64,
    scaling: Scaling,
}

/// Positions stretched after training.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scaling {
    None,
    /// Every frequency is divided.
    Linear {
        factor: f64,
    },
    /// Llama 3.1's: frequencies that turn less than once in the length of training are divided, those that turn often kept,
    /// those between mixed.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        /// Tokens of a text in training.
        length: f64,
    },
}

impl Rope {
    /// What `config.json` says; `longest` is the model's longest text in tokens.
    pub(super) fn read(config: &Map<String, Json>, longest: usize) -> Result<Self, Mismatch> {
        let scaling = group(config, "rope_scaling")?;
        let parameters = group(config, "rope_parameters")?;
        let top = Group {
            name: "",
            fields: config,
        };
        let key = "original_max_position_embeddings";
        let beside = top.number(key)?;
        top.all_channels()?;
        let Some(chosen) = scaling.or(parameters) else {
            return Ok(Self {
                theta: top.number("rope_theta")?.unwrap_or(THETA),
                scaling: Scaling::None,
            });
        };
        chosen.check_names()?;
        chosen.all_channels()?;
        let theta = chosen.number("rope_theta")?;
        let theta = theta.or(top.number("rope_theta")?).unwrap_or(THETA);
        // For transformers 5 the length beside the parameters goes before the one within; 4 knows the latter alone.
        let within = chosen.number(key)?;
        if let Some((within, beside)) = within.zip(beside)
            && within != beside
        {
            let expected = format!("{beside}, as beside {}", chosen.name);
            return Err(chosen.mismatch(key, &within.to_string(), expected));
        }
        let length = beside.or(within).unwrap_or(longest as f64);
        let scaling = chosen.scaling(length)?;
        Ok(Self { theta, scaling })
    }

    /// Frequencies, angles a position, as they are after scaling.
    pub(super) fn scale(&self, frequencies: &mut [f64]) {
        match self.scaling {
            Scaling::None => {}
            Scaling::Linear { factor } => frequencies.iter_mut().for_each(|f| *f /= factor),
            Scaling::Llama3 {
                factor,
                low,
                high,
                length,
            } => {
                for frequency in frequencies {
                    let turns = length * *frequency / TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    *frequency *= kept + (1.0 - kept) / factor;
                }
            }
        }
    }
}

/// The fields of an object of the configuration.
#[derive(Clone, Copy)]
struct Group<'a> {
    /// Empty for the configuration itself.
    name: &'a str,
    fields: &'a Map<String, Json>,
}

/// The parameters called `name`, if there are any. Parameters a type of layer have to be equal.
fn group<'a>(
    config: &'a Map<String, Json>,
    name: &'static str,
) -> Result<Option<Group<'a>>, Mismatch> {
    let fields = match config.get(name) {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Object(fields)) if fields.is_empty() => return Ok(None),
        Some(Json::Object(fields)) => fields,
        Some(other) => {
            let expected = "null or an object with rope_type";
            return Err(Mismatch::new(name, shown(other), expected));
        }
    };
    let mut layers = fields.iter().filter(|(_, value)| value.is_object());
    let Some((_, first)) = layers.next() else {
        return Ok(Some(Group { name, fields }));
    };
    let same = fields.values().all(|value| value == first);
    match first {
        Json::Object(fields) if same => Ok(Some(Group { name, fields })),
        _ => {
            let found = shown(&Json::Object(fields.clone()));
            let expected = "the same parameters for every type of layer";
            Err(Mismatch::new(name, found, expected))
        }
    }
}

impl Group<'_> {
    fn mismatch(&self, field: &str, found: &str, expected: impl Into<String>) -> Mismatch {
        let name = match self.name {
            "" => field.to_owned(),
            group => format!("{group}.{field}"),
        };
        Mismatch::new(name, found, expected.into())
    }

    fn number(&self, field: &str) -> Result<Option<f64>, Mismatch> {
        match self.fields.get(field) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|number| *number > 0.0) {
                Some(number) => Ok(Some(number)),
                None => Err(self.mismatch(field, &shown(value), "a number above 0")),
            },
        }
    }

    fn wanted(&self, field: &str) -> Result<f64, Mismatch> {
        let number = self.number(field)?;
        number.ok_or_else(|| self.mismatch(field, "nothing", "a number above 0"))
    }

    fn check_names(&self) -> Result<(), Mismatch> {
        for (field, value) in self.fields {
            let known = [READ.as_slice(), &OF_OTHER_TYPES].concat();
            let off = matches!(value, Json::Null | Json::Bool(false));
            if !known.contains(&field.as_str()) && !off {
                let expected = format!("one of {}", READ.join(", "));
                return Err(self.mismatch(field, &shown(value), expected));
            }
        }
        Ok(())
    }

    /// Refuses positions that turn a part of the channels of a head.
    fn all_channels(&self) -> Result<(), Mismatch> {
        let field = "partial_rotary_factor";
        match self.number(field)? {
            Some(part) if part != 1.0 => {
                let expected = "1: all channels of a head are turned";
                Err(self.mismatch(field, &part.to_string(), expected))
            }
            _ => Ok(()),
        }
    }

    fn scaling(&self, length: f64) -> Result<Scaling, Mismatch> {
        match self.kind()? {
            "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear {
                factor: self.wanted("factor")?,
            }),
            "llama3" => {
                let (low, high) = (
                    self.wanted("low_freq_factor")?,
                    self.wanted("high_freq_factor")?,
                );
                if high <= low {
                    let expected = format!("above low_freq_factor, {low}");
                    return Err(self.mismatch("high_freq_factor", &high.to_string(), expected));
                }
                Ok(Scaling::Llama3 {
                    factor: self.wanted("factor")?,
                    low,
                    high,
                    length,
                })
            }
            other => {
                let expected = "\"default\", \"linear\" or \"llama3\": no other scaling of rotary positions is supported";
                Err(self.mismatch("rope_type", &format!("{other:?}"), expected))
            }
        }
    }

    /// `rope_type`, which was `type` before transformers 4.43.
    fn kind(&self) -> Result<&str, Mismatch> {
        let text = |field| match self.fields.get(field) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.as_str())),
            Some(other) => Err(self.mismatch(field, &shown(other), "a string")),
        };
        match (text("rope_type")?, text("type")?) {
            (Some(new), Some(old)) if new != old => {
                let expected = format!("{old:?}, as type says");
                Err(self.mismatch("rope_type", &format!("{new:?}"), expected))
            }
            (Some(kind), _) | (None, Some(kind)) => Ok(kind),
            (None, None) => match self.number("factor")? {
                Some(factor) if factor != 1.0 => {
                    let expected = format!("the type of scaling that the factor {factor} is for");
                    Err(self.mismatch("rope_type", "nothing", expected))
                }
                _ => Ok("default"),
            },
        }
    }
}

#[cfg(test)]
#[path = "rope_tests.rs"]
mod tests;
