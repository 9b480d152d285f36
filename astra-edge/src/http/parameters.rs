//! Parameters of completions and chats.

use serde::Deserialize;

use super::astra::Options;
use super::error::ApiError;
use super::messages::{ChatMessage, messages};
use super::rest::{self, Rest, is_empty};
use super::whole::whole;
use crate::generation::{GenerationRequest, SamplingParams, StopConditions};
use crate::text::Prompt;
use astra_model::tasks::text::sampling::normalized;

/// `max_tokens` of a completion by default, as in OpenAI's API.
const COMPLETION_TOKENS: usize = 16;

/// The body of a completion or a chat. `rest` holds parameters that are refused, ignored or unknown.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    pub(super) model: Option<String>,
    prompt: Option<PromptInput>,
    messages: Option<Vec<ChatMessage>>,
    #[serde(default, deserialize_with = "whole")]
    max_tokens: Option<i128>,
    #[serde(default, deserialize_with = "whole")]
    max_completion_tokens: Option<i128>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    /// As vLLM and llama.cpp name it; otherwise in `astra`.
    #[serde(default, deserialize_with = "whole")]
    top_k: Option<i128>,
    /// As vLLM names it; otherwise in `astra`.
    repetition_penalty: Option<f32>,
    #[serde(default, deserialize_with = "whole")]
    seed: Option<i128>,
    stop: Option<Stop>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    astra: Option<Options>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
    /// Padding that hides the length of each chunk; there is none here.
    #[serde(rename = "include_obfuscation")]
    _include_obfuscation: Option<bool>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum Stop {
    One(String),
    Many(Vec<String>),
}

/// Texts or token ids, one prompt or several.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, a list of strings, a list of token ids or a list of such lists"
)]
pub(super) enum PromptInput {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    ManyIds(Vec<Vec<u32>>),
}

/// What a client requests.
pub(super) struct Requested {
    pub(super) request: GenerationRequest<Prompt>,
    pub(super) options: Options,
    /// Whether the text is sent as it comes.
    pub(super) stream: bool,
    /// Whether a stream ends with the number of tokens.
    pub(super) usage: bool,
}

impl Parameters {
    /// As a completion.
    pub(super) fn completion(mut self) -> Result<Requested, ApiError> {
        refuse_other(self.messages.is_some(), "messages")?;
        refuse_other(
            self.max_completion_tokens.is_some(),
            "max_completion_tokens",
        )?;
        let prompt = self.prompt.take();
        let prompt = prompt.ok_or_else(|| missing("prompt"))?.only()?;
        let max_tokens = match self.max_tokens {
            None => Some(COMPLETION_TOKENS),
            Some(given) => limit("max_tokens", given)?,
        };
        self.requested(prompt, max_tokens)
    }

    /// As a chat.
    pub(super) fn chat(mut self) -> Result<Requested, ApiError> {
        refuse_other(self.prompt.is_some(), "prompt")?;
        let given = self.messages.take().ok_or_else(|| missing("messages"))?;
        let messages = messages(given)?;
        let max_tokens = match (self.max_completion_tokens, self.max_tokens) {
            (Some(given), _) => limit("max_completion_tokens", given)?,
            (None, Some(given)) => limit("max_tokens", given)?,
            (None, None) => None,
        };
        self.requested(Prompt::Chat(messages), max_tokens)
    }

    fn requested(self, prompt: Prompt, max_tokens: Option<usize>) -> Result<Requested, ApiError> {
        rest::check(&self.rest)?;
        let sampling = self.sampling()?;
        let options = self.astra.unwrap_or_default();
        let stream = self.stream.unwrap_or(false);
        let usage = match self.stream_options {
            Some(_) if !stream => {
                let message = "stream_options without stream: expected \"stream\": true with them";
                return Err(ApiError::invalid("stream_options", message));
            }
            Some(given) => given.usage()?,
            None => false,
        };
        Ok(Requested {
            request: GenerationRequest {
                prompt,
                sampling,
                stop: StopConditions {
                    max_tokens,
                    strings: self.stop.map(Stop::strings).unwrap_or_default(),
                },
            },
            options,
            stream,
            usage,
        })
    }

    fn sampling(&self) -> Result<SamplingParams, ApiError> {
        let own = self.astra.as_ref();
        let top_k = match self.top_k {
            // -1 keeps all tokens in vLLM.
            None | Some(-1) => None,
            Some(given) => Some(u32::try_from(given).map_err(|_| {
                let message = format!("top_k: found {given}, expected -1 to {}", u32::MAX);
                ApiError::invalid("top_k", message)
            })?),
        };
        let top_k = once("top_k", top_k, own.and_then(|own| own.top_k))?;
        let penalty = own.and_then(|own| own.repetition_penalty);
        let penalty = once("repetition_penalty", self.repetition_penalty, penalty)?;
        Ok(normalized(SamplingParams {
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            top_k: top_k.unwrap_or(0),
            repetition_penalty: penalty.unwrap_or(1.0),
            seed: self.seed()?,
        }))
    }

    fn seed(&self) -> Result<u64, ApiError> {
        match self.seed {
            // -1 is a random seed in vLLM and llama.cpp.
            None | Some(-1) => Ok(rand::random()),
            Some(given) => i64::try_from(given)
                .map(i64::cast_unsigned)
                .or_else(|_| u64::try_from(given))
                .map_err(|_| {
                    let message = format!("seed: found {given}, expected one of 64 bits");
                    ApiError::invalid("seed", message)
                }),
        }
    }
}

impl StreamOptions {
    fn usage(self) -> Result<bool, ApiError> {
        let unsupported = self.rest.iter().find(|(_, value)| !is_empty(value));
        if let Some((name, value)) = unsupported {
            let message = format!("{name} = {value} is not supported");
            return Err(ApiError::unsupported(
                &format!("stream_options.{name}"),
                message,
            ));
        }
        Ok(self.include_usage.unwrap_or(false))
    }
}

impl Stop {
    /// All but empty ones, which clients send for none, and which llama.cpp ignores too.
    fn strings(self) -> Vec<String> {
        let all = match self {
            Self::One(stop) => vec![stop],
            Self::Many(stops) => stops,
        };
        all.into_iter().filter(|stop| !stop.is_empty()).collect()
    }
}

impl PromptInput {
    /// The only prompt.
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

    /// All prompts.
    pub(super) fn all(self) -> Vec<Prompt> {
        match self {
            Self::Text(text) => vec![Prompt::Text(text)],
            Self::Texts(texts) => texts.into_iter().map(Prompt::Text).collect(),
            Self::Ids(ids) => vec![Prompt::Tokens(ids)],
            Self::ManyIds(lists) => lists.into_iter().map(Prompt::Tokens).collect(),
        }
    }
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

/// A limit of tokens; -1 for none, as in llama.cpp.
fn limit(name: &str, given: i128) -> Result<Option<usize>, ApiError> {
    match given {
        -1 => Ok(None),
        ..1 => {
            let message = format!("{name}: found {given}, expected at least 1, or -1 for no limit");
            Err(ApiError::invalid(name, message))
        }
        given => Ok(Some(usize::try_from(given).unwrap_or(usize::MAX))),
    }
}

/// A parameter that can be given in two places.
fn once<T>(name: &str, outside: Option<T>, inside: Option<T>) -> Result<Option<T>, ApiError> {
    if outside.is_some() && inside.is_some() {
        let message = format!("{name} and astra.{name}: expected one of the two");
        return Err(ApiError::invalid(name, message));
    }
    Ok(outside.or(inside))
}
