//! Messages of a chat as clients write them, or send them back from a response.

use serde::Deserialize;

use super::error::ApiError;
use super::rest::{Rest, is_empty};
use astra_model::tasks::text::template::Message;

/// A message as clients write it.
#[derive(Debug, Deserialize)]
pub(super) struct ChatMessage {
    role: String,
    content: Option<Content>,
    name: Option<String>,
    /// The assistant's reasoning before its answer, from servers that return it separately.
    reasoning_content: Option<String>,
    /// The same in vLLM.
    reasoning: Option<String>,
    #[serde(flatten)]
    rest: Rest,
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

/// All messages of a chat for its template.
pub(super) fn messages(given: Vec<ChatMessage>) -> Result<Vec<Message>, ApiError> {
    let given = given.into_iter().enumerate();
    given.map(|(index, given)| given.message(index)).collect()
}

impl ChatMessage {
    fn message(self, index: usize) -> Result<Message, ApiError> {
        let at = |field: &str| format!("messages[{index}].{field}");
        for (name, value) in &self.rest {
            if !is_empty(value) {
                let message = format!("{name} in a message is not supported");
                return Err(ApiError::unsupported(&at(name), message));
            }
        }
        let role = match self.role.as_str() {
            // A newer name of the same role, which templates do not know.
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
            // A response of tool calls or of reasoning alone has none.
            None if role == "assistant" => String::new(),
            None => {
                let message = "a message without content: expected text";
                return Err(ApiError::invalid(&at("content"), message));
            }
        };
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Message {
            name: given(self.name),
            reasoning_content: given(self.reasoning_content).or(given(self.reasoning)),
            ..Message::new(role, content)
        })
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
