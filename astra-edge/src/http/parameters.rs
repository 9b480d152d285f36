//! Parameters of completions and chats.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::astra::Options;
use super::error::ApiError;
use crate::cluster::words::{Ask, Prompt};
use crate::tasks::text::sampling::Sampling;
use crate::tasks::text::template::Message;

/// The body of a completion or a chat. `rest` holds what is refused, ignored, or not known at all.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    pub(super) model: Option<String>,
    prompt: Option<Tokens>,
    messages: Option<Vec<Said>>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<i64>,
    stop: Option<Stop>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    astra: Option<Options>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    include_usage: Option<bool>,
    /// Filling that hides how long pieces are; there is none here.
    #[serde(rename = "include_obfuscation")]
    _include_obfuscation: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum Stop {
    One(String),
    Many(Vec<String>),
}

/// Text or token ids, one or several.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, a list of strings, a list of token ids or a list of such lists"
)]
pub(super) enum Tokens {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    ManyIds(Vec<Vec<u32>>),
}

/// A message as clients write it.
#[derive(Debug, Deserialize)]
struct Said {
    role: String,
    content: Option<Content>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

/// What a route makes of its parameters.
pub(super) struct Wanted {
    pub(super) ask: Ask,
    pub(super) stream: bool,
    pub(super) usage: bool,
}

impl Parameters {
    /// As a completion.
    pub(super) fn completion(mut self) -> Result<Wanted, ApiError> {
        refuse_other(self.messages.is_some(), "messages")?;
        refuse_other(
            self.max_completion_tokens.is_some(),
            "max_completion_tokens",
        )?;
        let prompt = self.prompt.take();
        let prompt = prompt.ok_or_else(|| missing("prompt"))?.only()?;
        // What OpenAI's completions do where nothing is said.
        self.max_tokens.get_or_insert(16);
        self.wanted(prompt)
    }

    /// As a chat.
    pub(super) fn chat(mut self) -> Result<Wanted, ApiError> {
        refuse_other(self.prompt.is_some(), "prompt")?;
        let messages = self.messages.take().ok_or_else(|| missing("messages"))?;
        let messages = messages.into_iter().enumerate();
        let messages: Result<_, _> = messages.map(|(place, said)| said.message(place)).collect();
        self.max_tokens = self.max_completion_tokens.or(self.max_tokens);
        self.wanted(Prompt::Chat(messages?))
    }

    fn wanted(self, prompt: Prompt) -> Result<Wanted, ApiError> {
        for (name, value) in &self.rest {
            check_rest(name, value)?;
        }
        let options = self.astra.unwrap_or_default();
        let stream = self.stream.unwrap_or(false);
        if self.stream_options.is_some() && !stream {
            let message = "stream_options without stream: expected \"stream\": true with them";
            return Err(ApiError::invalid("stream_options", message));
        }
        let usage = self.stream_options.and_then(|given| given.include_usage);
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            top_k: options.top_k.unwrap_or(0),
            repetition_penalty: options.repetition_penalty.unwrap_or(1.0),
            seed: self.seed.map_or_else(rand::random, i64::cast_unsigned),
        };
        Ok(Wanted {
            ask: Ask {
                options: options.ask(),
                shares: options.shares(),
                prompt,
                sampling,
                stops: match self.stop {
                    None => Vec::new(),
                    Some(Stop::One(stop)) => vec![stop],
                    Some(Stop::Many(stops)) => stops,
                },
                max_tokens: self.max_tokens,
            },
            stream,
            usage: usage.unwrap_or(false),
        })
    }
}

impl Tokens {
    /// The only one.
    fn only(self) -> Result<Prompt, ApiError> {
        let mut all = self.all();
        match (all.pop(), all.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => Ok(Prompt::Text(String::new())),
            (Some(_), more) => Err(ApiError::unsupported(
                "prompt",
                format!("{} prompts: expected one a request", more + 1),
            )),
        }
    }

    /// All of them.
    pub(super) fn all(self) -> Vec<Prompt> {
        match self {
            Self::Text(text) => vec![Prompt::Text(text)],
            Self::Texts(texts) => texts.into_iter().map(Prompt::Text).collect(),
            Self::Ids(ids) => vec![Prompt::Tokens(ids)],
            Self::ManyIds(lists) => lists.into_iter().map(Prompt::Tokens).collect(),
        }
    }
}

impl Said {
    fn message(self, place: usize) -> Result<Message, ApiError> {
        let at = |field: &str| format!("messages[{place}].{field}");
        for (name, value) in &self.rest {
            // What an answer of this API carries comes back in the next request, empty.
            if name != "name" && !neutral(name, value) {
                let message = format!("{name} in a message is not supported");
                return Err(ApiError::unsupported(&at(name), message));
            }
        }
        let role = match self.role.as_str() {
            // The same thing under a newer name, which templates do not know.
            "developer" => "system".to_owned(),
            "system" | "user" | "assistant" => self.role,
            other => {
                let message =
                    format!("role {other:?}: expected system, developer, user or assistant");
                return Err(ApiError::invalid(&at("role"), message));
            }
        };
        let content = match self.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => join(parts, &at("content"))?,
            None => {
                let message = "a message without content: expected text";
                return Err(ApiError::invalid(&at("content"), message));
            }
        };
        Ok(Message { role, content })
    }
}

fn join(parts: Vec<Part>, at: &str) -> Result<String, ApiError> {
    let mut text = String::new();
    for part in parts {
        match (part.kind.as_str(), part.text) {
            ("text", Some(more)) => text.push_str(&more),
            ("text", None) => return Err(ApiError::invalid(at, "a part without text")),
            (kind, _) => {
                let message = format!("a part of type {kind:?}: expected only \"text\"");
                return Err(ApiError::unsupported(at, message));
            }
        }
    }
    Ok(text)
}

fn missing(name: &str) -> ApiError {
    ApiError::invalid(name, format!("{name} is missing"))
}

fn refuse_other(there: bool, name: &str) -> Result<(), ApiError> {
    if there {
        return Err(ApiError::unsupported(
            name,
            format!("{name} is no parameter of this route"),
        ));
    }
    Ok(())
}

/// Ignored: they change nothing in what is answered.
const IGNORED: [&str; 6] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
];

/// Known, and taken only with a value that asks for nothing.
const UNSUPPORTED: [&str; 24] = [
    "n",
    "best_of",
    "suffix",
    "echo",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "modalities",
    "audio",
    "prediction",
    "reasoning_effort",
    "verbosity",
    "web_search_options",
    "refusal",
    "annotations",
    "tool_calls",
];

fn check_rest(name: &str, value: &Value) -> Result<(), ApiError> {
    if IGNORED.contains(&name) || neutral(name, value) {
        return Ok(());
    }
    if UNSUPPORTED.contains(&name) {
        let message = format!("{name} = {value} is not supported");
        return Err(ApiError::unsupported(name, message));
    }
    let message = format!("there is no parameter {name:?}");
    let mut error = ApiError::unsupported(name, message);
    error.code = "unknown_parameter";
    Err(error)
}

/// Whether a parameter that is not supported asks for what happens anyway.
fn neutral(name: &str, value: &Value) -> bool {
    if !UNSUPPORTED.contains(&name) {
        return false;
    }
    match (name, value) {
        (_, Value::Null | Value::Bool(false)) | ("parallel_tool_calls", Value::Bool(_)) => true,
        ("n" | "best_of", value) => value.as_u64() == Some(1),
        ("tool_choice" | "function_call", Value::String(choice)) => {
            choice == "none" || choice == "auto"
        }
        ("response_format", Value::Object(format)) => {
            format.get("type").and_then(Value::as_str) == Some("text")
        }
        ("modalities", Value::Array(list)) => list.iter().all(|item| item == "text"),
        (_, Value::Number(number)) => {
            name != "logprobs" && name != "top_logprobs" && number.as_f64() == Some(0.0)
        }
        (_, Value::Array(list)) => list.is_empty(),
        (_, Value::Object(map)) => map.is_empty(),
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Bool(true)) => false,
    }
}
