//! Requests of clients in text: generation and embeddings.

use std::sync::Arc;

use astra_wire::{Control, EmbeddingRequest, InferenceResponse, Prompt as WirePrompt};

use super::reply::Replies;
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::response::GenerationResponse;
use crate::generation::{GenerationRequest, StopConditions};
use crate::link::encode;
use crate::link::{IncomingRequest, Link};
use crate::text::{Prompt, TextError, TextEvent, TextService, TextStream};
use astra_model::tasks::features::write_exact;

const NO_TEXT: &str = "this device's model takes images, not text";

/// Sends pieces of text as replies of their own and returns the last reply, the end.
pub(crate) async fn generate(
    service: Option<&Arc<TextService>>,
    link: &Link,
    incoming: &IncomingRequest,
    message: &astra_wire::GenerationRequest<'_>,
    context: RequestContext,
    replies: Replies,
) -> Vec<u8> {
    let Some(service) = service else {
        return replies.failed(&NO_TEXT);
    };
    let request = match parse_request(message) {
        Ok(request) => request,
        Err(text) => return replies.failed(&text),
    };
    tracing::debug!("request in text");
    let stream = match service.generate(context, request).await {
        Ok(stream) => stream,
        Err(error) => return replies.failed(&error),
    };
    tokio::select! {
        response = send(stream, incoming, replies) => match response {
            Ok(response) => last(&response, replies),
            Err(error) => replies.failed(&error),
        },
        // Dropping the stream ends the generation.
        () = link.client_gone(incoming) => {
            tracing::debug!("a client has disconnected before the end of its text");
            Vec::new()
        }
    }
}

async fn send(
    mut stream: TextStream,
    incoming: &IncomingRequest,
    replies: Replies,
) -> Result<GenerationResponse, TextError> {
    while let Some(event) = stream.next().await {
        match event? {
            TextEvent::Delta(text) => {
                match encode(replies.version, &Control::TextDelta { text: &text }) {
                    Ok(delta) => incoming.reply(delta).await,
                    Err(error) => return Err(TextError::Stopped(error.to_string())),
                }
            }
            TextEvent::Finished(response) => return Ok(*response),
        }
    }
    Err(TextError::Stopped("a text without an end".to_owned()))
}

fn last(response: &GenerationResponse, replies: Replies) -> Vec<u8> {
    let report = match serde_json::to_string(&response.report) {
        Ok(report) => report,
        Err(error) => return replies.failed(&error),
    };
    let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
    let answer = astra_wire::GenerationResponse {
        report: &report,
        prompt_tokens: count(response.prompt_tokens),
        tokens: count(response.tokens),
        finish_reason: response.finish_reason,
    };
    replies.message(&Control::GenerationResponse(answer))
}

/// Replies with one embedding, in place of a class token.
pub(crate) async fn embed(
    service: Option<&Arc<TextService>>,
    message: &EmbeddingRequest<'_>,
    context: RequestContext,
    replies: Replies,
) -> Vec<u8> {
    let Some(service) = service else {
        return replies.failed(&NO_TEXT);
    };
    let prompt = match prompt(&message.input) {
        Ok(prompt) => prompt,
        Err(text) => return replies.failed(&text),
    };
    let embedded = match service.embed(context, prompt).await {
        Ok((embedded, _)) => embedded,
        Err(error) => return replies.failed(&error),
    };
    let report = match serde_json::to_string(&embedded.report) {
        Ok(report) => report,
        Err(error) => return replies.failed(&error),
    };
    let mut cls = Vec::new();
    write_exact(&embedded.embedding, &mut cls);
    let answer = Control::InferenceResponse(InferenceResponse {
        report: &report,
        width: 0,
        height: 0,
        map: &[],
        cls: &cls,
    });
    replies.message(&answer)
}

fn parse_request(
    message: &astra_wire::GenerationRequest<'_>,
) -> Result<GenerationRequest<Prompt>, String> {
    Ok(GenerationRequest {
        prompt: prompt(&message.prompt)?,
        sampling: message.sampling,
        stop: StopConditions {
            max_tokens: message.max_tokens.map(|tokens| tokens as usize),
            strings: message.stop.iter().map(|stop| (*stop).to_owned()).collect(),
        },
    })
}

fn prompt(prompt: &WirePrompt<'_>) -> Result<Prompt, String> {
    match prompt {
        WirePrompt::Text(text) => Ok(Prompt::Text((*text).to_owned())),
        WirePrompt::Chat(messages) => serde_json::from_str(messages)
            .map(Prompt::Chat)
            .map_err(|error| format!("the messages of the chat cannot be read: {error}")),
        _ => Err(
            "found a prompt of a kind that this version does not know, expected a text or a chat"
                .to_owned(),
        ),
    }
}
