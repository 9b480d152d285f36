//! The settings file. Its values become the defaults of the arguments, so that they are parsed as flags are.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, FromArgMatches};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::declared::{declared, is_list, without_environment};
use super::{Config, ConfigError, Origin};

/// Two words are taken for a slip of each other from here on: clap's own limit for flags.
const SIMILAR: f64 = 0.7;

/// A settings file, all of whose keys are known.
pub(super) struct File {
    path: PathBuf,
    values: BTreeMap<String, Value>,
}

/// A value as it would be given to a flag; several of a list.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) line: usize,
    pub(super) texts: Vec<String>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let declared = declared();
        let mut reader = Reader {
            path,
            text,
            declared: &declared,
            values: BTreeMap::new(),
        };
        let table = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            reader.refused(&place_in(text, start), error.message())
        })?;
        reader.table("", table.get_ref())?;
        Ok(Self {
            path: path.to_owned(),
            values: reader.values,
        })
    }

    /// One without settings.
    pub(super) fn none() -> Self {
        Self {
            path: PathBuf::new(),
            values: BTreeMap::new(),
        }
    }

    /// The value of a setting, where the file has one.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        let value = self.values.get(key);
        value.filter(|value| !value.texts.is_empty())
    }

    /// `FILE: line 2, threads`.
    pub(super) fn place(&self, key: &str) -> Option<String> {
        let line = self.value(key)?.line;
        Some(format!("{}: line {line}, {key}", self.path.display()))
    }

    pub(super) fn origin(&self, value: &Value) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line: value.line,
        }
    }

    /// The error with the line of the value it is about.
    pub(super) fn named(&self, error: ConfigError) -> ConfigError {
        error.named(|key| self.place(key))
    }

    /// What the file says, over the defaults.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let mut command = without_environment().mut_args(|arg| {
            let value = self.value(arg.get_id().as_str());
            match value.map(|value| value.texts.clone()) {
                Some(texts) => arg.default_values(texts),
                None => arg,
            }
        });
        let matches = command.try_get_matches_from_mut([""; 0]);
        let mut matches = matches.map_err(|error| self.refused(&command, error))?;
        Ok(Config::from_arg_matches_mut(&mut matches)?)
    }

    /// What clap says of a value, as an error of the file.
    fn refused(&self, command: &Command, error: clap::Error) -> ConfigError {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.as_str(),
            _ => "",
        };
        let (flag, found) = (
            context(ContextKind::InvalidArg),
            context(ContextKind::InvalidValue),
        );
        let arg = command.get_arguments().find(|arg| arg.to_string() == *flag);
        let key = arg.map(|arg| arg.get_id().as_str());
        let (Some(arg), Some(value)) = (arg, key.and_then(|key| self.values.get(key))) else {
            return error.into();
        };
        let reason = match (error.source(), error.get(ContextKind::ValidValue)) {
            (Some(source), _) if source.is::<ParseIntError>() => {
                format!("found {found:?}, expected a number from 0")
            }
            (Some(source), _) => source.to_string(),
            (None, Some(ContextValue::Strings(valid))) if !valid.is_empty() => {
                format!("found {found:?}, expected {}", valid.join(" or "))
            }
            _ => format!("found {found:?}, expected a value"),
        };
        ConfigError::Parse {
            path: self.path.clone(),
            at: format!("line {}, {}", value.line, arg.get_id()),
            reason,
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    declared: &'a Command,
    values: BTreeMap<String, Value>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in table {
            let path = format!("{prefix}{}", key.get_ref());
            let line = line_of(self.text, key.span().start);
            let at = format!("line {line}, {path}");
            let inner = format!("{path}.");
            let settings = self.declared;
            let is_table = |arg: &Arg| arg.get_id().as_str().starts_with(&inner);
            if let DeValue::Table(table) = value.get_ref()
                && settings.get_arguments().any(is_table)
            {
                self.table(&inner, table)?;
                continue;
            }
            let arg = settings
                .get_arguments()
                .find(|arg| arg.get_id().as_str() == path);
            let Some(arg) = arg else {
                return Err(self.refused(&at, &self.unknown(&path)));
            };
            let texts = texts(value, is_list(arg)).map_err(|why| self.refused(&at, &why))?;
            self.values.insert(path, Value { line, texts });
        }
        Ok(())
    }

    fn unknown(&self, found: &str) -> String {
        let keys = self.declared.get_arguments();
        let keys: Vec<&str> = keys.map(|arg| arg.get_id().as_str()).collect();
        let all = keys
            .iter()
            .map(|key| format!("`{key}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let likeness = |key: &str| strsim::jaro_winkler(found, key);
        let nearest = keys
            .into_iter()
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
            .filter(|key| likeness(key) > SIMILAR);
        match nearest {
            Some(nearest) => format!(
                "unknown field: found `{found}`, expected `{nearest}`; all there are: {all}"
            ),
            None => format!("unknown field: found `{found}`, expected one of {all}"),
        }
    }

    fn refused(&self, at: &str, reason: &str) -> ConfigError {
        ConfigError::Parse {
            path: self.path.to_owned(),
            at: at.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// The value as a flag would have it.
fn texts(value: &Spanned<DeValue<'_>>, is_list: bool) -> Result<Vec<String>, String> {
    let found = value.get_ref().type_str();
    match value.get_ref() {
        DeValue::Array(values) if is_list => {
            let texts = values.iter().map(|value| scalar(value.get_ref()));
            let texts: Option<Vec<String>> = texts.collect();
            texts.ok_or_else(|| {
                "found a list of lists or tables, expected one of strings".to_owned()
            })
        }
        _ if is_list => Err(format!(
            "found {found}, expected a list such as [\"a\", \"b\"]"
        )),
        one => {
            let text = scalar(one);
            let text = text.ok_or_else(|| format!("found {found}, expected one value"))?;
            Ok(vec![text])
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    Some(match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => {
            let decimal = i64::from_str_radix(number.as_str(), number.radix());
            decimal.map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())
        }
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => return None,
    })
}

/// Number of the line that a byte is in, from 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    1 + before.matches('\n').count()
}

/// `line 2, threads`, where a file is no TOML.
fn place_in(text: &str, at: usize) -> String {
    let number = line_of(text, at);
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let key = line.split_once('=').map(|(key, _)| key.trim());
    let key = key.map_or_else(String::new, |key| format!(", {key}"));
    format!("line {number}{key}")
}
