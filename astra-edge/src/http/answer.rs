//! Answers of completions and chats, whole or in chunks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{Api, now};
use super::astra::Took;
use crate::text::Ended;

/// Which of the two routes answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Completion,
    Chat,
}

impl Kind {
    /// The parameter that holds what to go on from.
    pub(super) fn input(self) -> &'static str {
        match self {
            Self::Completion => "prompt",
            Self::Chat => "messages",
        }
    }
}

/// What all chunks of an answer have in common.
pub(super) struct Answer {
    kind: Kind,
    api: Arc<Api>,
    id: String,
    created: u64,
    /// Whether a stream is to say how many tokens it took.
    usage: bool,
}

impl Answer {
    pub(super) fn new(kind: Kind, api: Arc<Api>, usage: bool) -> Self {
        let prefix = match kind {
            Kind::Completion => "cmpl",
            Kind::Chat => "chatcmpl",
        };
        Self {
            kind,
            api,
            id: format!("{prefix}-{:032x}", rand::random::<u128>()),
            created: now(),
            usage,
        }
    }

    /// The answer in one piece.
    pub(super) fn whole(&self, text: &str, ended: &Ended) -> Value {
        let (object, mut choice) = match self.kind {
            Kind::Completion => ("text_completion", json!({ "text": text })),
            Kind::Chat => {
                let message = json!({ "role": "assistant", "content": text, "refusal": null });
                ("chat.completion", json!({ "message": message }))
            }
        };
        finish(&mut choice, Some(ended));
        let mut answer = self.frame(object, json!([choice]));
        put(&mut answer, "usage", Self::usage_of(ended));
        put(&mut answer, "astra", self.took(ended));
        answer
    }

    /// The chunk before the first text, where there is one.
    pub(super) fn opening(&self) -> Option<Value> {
        match self.kind {
            Kind::Completion => None,
            Kind::Chat => Some(self.chunk(json!({ "role": "assistant", "content": "" }), None)),
        }
    }

    /// A chunk of text.
    pub(super) fn piece(&self, text: &str) -> Value {
        match self.kind {
            Kind::Completion => self.chunk(json!(text), None),
            Kind::Chat => self.chunk(json!({ "content": text }), None),
        }
    }

    /// The chunks behind the last text.
    pub(super) fn closing(&self, ended: &Ended) -> Vec<Value> {
        let nothing = match self.kind {
            Kind::Completion => json!(""),
            Kind::Chat => json!({}),
        };
        let mut last = self.chunk(nothing, Some(ended));
        put(&mut last, "astra", self.took(ended));
        let mut chunks = vec![last];
        if self.usage {
            let mut usage = self.frame(self.chunk_object(), json!([]));
            put(&mut usage, "usage", Self::usage_of(ended));
            chunks.push(usage);
        }
        chunks
    }

    fn chunk_object(&self) -> &'static str {
        match self.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion.chunk",
        }
    }

    fn chunk(&self, content: Value, ended: Option<&Ended>) -> Value {
        let mut choice = match self.kind {
            Kind::Completion => json!({ "text": content }),
            Kind::Chat => json!({ "delta": content }),
        };
        finish(&mut choice, ended);
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

    fn usage_of(ended: &Ended) -> Value {
        json!({
            "prompt_tokens": ended.prompt_tokens,
            "completion_tokens": ended.tokens,
            "total_tokens": ended.prompt_tokens + ended.tokens,
            "prompt_tokens_details": {
                "cached_tokens": ended.report.reused_tokens.unwrap_or(0),
            },
        })
    }

    fn took(&self, ended: &Ended) -> Value {
        Took::of(&ended.report, &self.api.manifest).value()
    }
}

/// What every choice has, and why it ended if it has.
fn finish(choice: &mut Value, ended: Option<&Ended>) {
    let reason = ended.map(|ended| if ended.cut { "length" } else { "stop" });
    put(choice, "index", json!(0));
    put(choice, "logprobs", Value::Null);
    put(choice, "finish_reason", json!(reason));
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}
