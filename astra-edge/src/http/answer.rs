//! Bodies of responses to completions and chats, whole or in chunks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{Api, now};
use super::astra::RequestStats;
use crate::cluster::request::response::GenerationResponse;
use crate::generation::finish_reason_name;

/// Which of the two endpoints responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Completions,
    ChatCompletions,
}

impl Endpoint {
    /// The parameter with the prompt.
    pub(super) fn input(self) -> &'static str {
        match self {
            Self::Completions => "prompt",
            Self::ChatCompletions => "messages",
        }
    }
}

/// Makes the JSON of one response.
pub(super) struct ResponseBody {
    endpoint: Endpoint,
    api: Arc<Api>,
    id: String,
    created: u64,
    /// Whether a stream ends with the number of tokens.
    usage: bool,
}

impl ResponseBody {
    pub(super) fn new(endpoint: Endpoint, api: Arc<Api>, usage: bool) -> Self {
        let prefix = match endpoint {
            Endpoint::Completions => "cmpl",
            Endpoint::ChatCompletions => "chatcmpl",
        };
        Self {
            endpoint,
            api,
            id: format!("{prefix}-{:032x}", rand::random::<u128>()),
            created: now(),
            usage,
        }
    }

    /// The whole response.
    pub(super) fn whole(&self, text: &str, response: &GenerationResponse) -> Value {
        let (object, mut choice) = match self.endpoint {
            Endpoint::Completions => ("text_completion", json!({ "text": text })),
            Endpoint::ChatCompletions => {
                let message = json!({ "role": "assistant", "content": text, "refusal": null });
                ("chat.completion", json!({ "message": message }))
            }
        };
        finish(&mut choice, Some(response));
        let mut body = self.frame(object, json!([choice]));
        put(&mut body, "usage", Self::usage_of(response));
        put(&mut body, "astra", self.took(response));
        body
    }

    /// The chunk before the first text, for endpoints that have one.
    pub(super) fn first_chunk(&self) -> Option<Value> {
        match self.endpoint {
            Endpoint::Completions => None,
            Endpoint::ChatCompletions => {
                Some(self.chunk(json!({ "role": "assistant", "content": "" }), None))
            }
        }
    }

    /// A chunk of text.
    pub(super) fn delta(&self, text: &str) -> Value {
        match self.endpoint {
            Endpoint::Completions => self.chunk(json!(text), None),
            Endpoint::ChatCompletions => self.chunk(json!({ "content": text }), None),
        }
    }

    /// The chunks after the last text.
    pub(super) fn last_chunks(&self, response: &GenerationResponse) -> Vec<Value> {
        let nothing = match self.endpoint {
            Endpoint::Completions => json!(""),
            Endpoint::ChatCompletions => json!({}),
        };
        let mut last = self.chunk(nothing, Some(response));
        put(&mut last, "astra", self.took(response));
        let mut chunks = vec![last];
        if self.usage {
            let mut usage = self.frame(self.chunk_object(), json!([]));
            put(&mut usage, "usage", Self::usage_of(response));
            chunks.push(usage);
        }
        chunks
    }

    fn chunk_object(&self) -> &'static str {
        match self.endpoint {
            Endpoint::Completions => "text_completion",
            Endpoint::ChatCompletions => "chat.completion.chunk",
        }
    }

    fn chunk(&self, content: Value, response: Option<&GenerationResponse>) -> Value {
        let mut choice = match self.endpoint {
            Endpoint::Completions => json!({ "text": content }),
            Endpoint::ChatCompletions => json!({ "delta": content }),
        };
        finish(&mut choice, response);
        let mut chunk = self.frame(self.chunk_object(), json!([choice]));
        if self.usage {
            put(&mut chunk, "usage", Value::Null);
        }
        chunk
    }

    fn frame(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.api.model(),
            "system_fingerprint": self.api.bundle,
            "choices": choices,
        })
    }

    fn usage_of(response: &GenerationResponse) -> Value {
        json!({
            "prompt_tokens": response.prompt_tokens,
            "completion_tokens": response.tokens,
            "total_tokens": response.prompt_tokens + response.tokens,
            "prompt_tokens_details": {
                "cached_tokens": response.report.reused_tokens.unwrap_or(0),
            },
        })
    }

    fn took(&self, response: &GenerationResponse) -> Value {
        RequestStats::of(&response.report).value()
    }
}

/// Fields of every choice, with the reason of a response that has ended.
fn finish(choice: &mut Value, response: Option<&GenerationResponse>) {
    let reason = response.map(|response| finish_reason_name(response.finish_reason));
    put(choice, "index", json!(0));
    put(choice, "logprobs", Value::Null);
    put(choice, "finish_reason", json!(reason));
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}
