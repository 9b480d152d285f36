//! Renders chat messages to a prompt with the model's Jinja template.
//!
//! Templates are written for Python's Jinja as configured by the `transformers` library; what they use beyond the language itself is
//! provided here: methods of Python's strings, lists and dictionaries, `raise_exception`, `strftime_now`, and a
//! `tojson` that does not escape for HTML.

use std::io::{self, Write};

use super::generation_tag;
use jiff::fmt::strtime;
use jiff::{Timestamp, tz::TimeZone};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// Limit of the steps of a rendering, which no real chat reaches.
const FUEL: u64 = 5_000_000;
const NAME: &str = "chat_template";

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or another role that the template supports.
    pub role: String,
    /// The text.
    pub content: String,
    /// Name of the participant, where several have the same role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Reasoning of the assistant before its text, for templates that include it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
}

impl Message {
    /// A message without name and reasoning.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            name: None,
            reasoning_content: None,
        }
    }
}

/// A template is invalid, or rejects a chat.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It cannot be parsed.
    #[error("the model's chat template cannot be parsed: {0}")]
    Parse(String),
    /// It rejects the messages by `raise_exception`.
    #[error("the model's chat template refuses these messages: {0}")]
    Refused(String),
    /// Rendering failed.
    #[error("the model's chat template failed: {0}")]
    Failed(String),
}

/// A model's chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Parses a template. `bos_token` and `eos_token` are the texts of these tokens, empty for models without.
    ///
    /// # Errors
    /// [`TemplateError::Parse`].
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|error| TemplateError::Parse(error.to_string()))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment.add_test("sequence", is_sequence);
        // Jinja normalizes line endings of templates.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        environment
            .add_template_owned(NAME, generation_tag::replace(&source))
            .map_err(|error| TemplateError::Parse(error.to_string()))?;
        Ok(Self {
            environment,
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
        })
    }

    /// The prompt for a chat, up to the beginning of the assistant's next message.
    ///
    /// # Errors
    /// The template rejects the messages, or fails.
    pub fn render(&self, messages: &[Message]) -> Result<String, TemplateError> {
        let failed = |error: Error| match refusal(&error) {
            Some(why) => TemplateError::Refused(why),
            None => TemplateError::Failed(error.to_string()),
        };
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let context = context! {
            messages => Value::from(Serde(messages)),
            tools => (),
            documents => (),
            add_generation_prompt => true,
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
        };
        template.render(context).map_err(failed)
    }
}

/// The text that a template passes to `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn raise_exception(text: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, text.clone()).with_source(Refusal(text)))
}

fn refusal(error: &Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(refusal.0.clone());
        }
        cause = error.source();
    }
    None
}

/// The time in UTC, formatted as by C's `strftime`.
fn strftime_now(format: &str) -> Result<String, Error> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    strtime::format(format, &now)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// Jinja's test `sequence` holds for everything with a length and items.
fn is_sequence(value: &Value) -> bool {
    let kind = value.kind();
    matches!(kind, ValueKind::Seq | ValueKind::Map | ValueKind::String)
}

/// `json.dumps` of Python without escapes for HTML.
fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut text = Vec::new();
    let written = match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut text, Spaced)),
        Some(indent) => {
            let indent = " ".repeat(indent.min(16));
            let pretty = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut text, pretty))
        }
    };
    let failed = |reason: String| Error::new(ErrorKind::BadSerialization, reason);
    written.map_err(|error| failed(error.to_string()))?;
    let mut text = String::from_utf8(text).map_err(|error| failed(error.to_string()))?;
    if ascii == Some(true) {
        text = in_ascii(&text);
    }
    Ok(Value::from_safe_string(text))
}

/// Escapes all characters but ASCII.
fn in_ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

/// JSON as Python writes it: a space after every comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
