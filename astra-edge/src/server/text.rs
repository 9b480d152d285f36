//! Requests of clients in text: generation and embeddings.

use std::sync::Arc;

use astra_wire::{
    Control, EmbeddingRequest, FinishReason, GenerationRequest, GenerationResponse,
    InferenceResponse, Prompt as WirePrompt, SamplingParams,
};

use super::reply::{Replies, parse_shares};
use crate::cluster::request::client_handle::ClientHandle;
use crate::link::encode;
use crate::link::{Incoming, Link};
use crate::text::{Ask, Ended, Event, Prompt, TextError, TextService, Writing};
use astra_model::tasks::features::write_exact;
use astra_model::tasks::text::sampling::Sampling;

const NO_TEXT: &str = "this device's model takes images, not text";

/// Sends pieces of text as replies of their own and returns the last reply, the end.
pub(crate) async fn generate(
    words: Option<&Arc<TextService>>,
    link: &Link,
    incoming: &Incoming,
    ask: &GenerationRequest<'_>,
    client: ClientHandle,
    replies: Replies,
) -> Vec<u8> {
    let Some(words) = words else {
        return replies.failed(&NO_TEXT);
    };
    let request = match request(ask, incoming.parameter("ranges").and_then(parse_shares)) {
        Ok(request) => request,
        Err(text) => return replies.failed(&text),
    };
    tracing::debug!("request in text");
    let writing = match words.write(request, client).await {
        Ok(writing) => writing,
        Err(error) => return replies.failed(&error),
    };
    tokio::select! {
        ended = relay(writing, incoming, replies) => match ended {
            Ok(ended) => last(&ended, replies),
            Err(error) => replies.failed(&error),
        },
        // Dropping the stream ends the generation.
        () = link.asker_gone(incoming) => {
            tracing::debug!("a client has disconnected before the end of its text");
            Vec::new()
        }
    }
}

async fn relay(
    mut writing: Writing,
    incoming: &Incoming,
    replies: Replies,
) -> Result<Ended, TextError> {
    while let Some(event) = writing.next().await {
        match event? {
            Event::Piece(text) => {
                match encode(replies.version, &Control::TextDelta { text: &text }) {
                    Ok(piece) => incoming.answer(piece),
                    Err(error) => return Err(TextError::Stopped(error.to_string())),
                }
            }
            Event::End(ended) => return Ok(*ended),
        }
    }
    Err(TextError::Stopped("a text without an end".to_owned()))
}

fn last(ended: &Ended, replies: Replies) -> Vec<u8> {
    let report = match serde_json::to_string(&ended.report) {
        Ok(report) => report,
        Err(error) => return replies.failed(&error),
    };
    let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
    let answer = GenerationResponse {
        report: &report,
        prompt_tokens: count(ended.prompt_tokens),
        tokens: count(ended.tokens),
        finish_reason: if ended.cut {
            FinishReason::Length
        } else {
            FinishReason::Stop
        },
    };
    replies.message(&Control::GenerationResponse(answer))
}

/// Replies with one embedding, in place of a class token.
pub(crate) async fn embed(
    words: Option<&Arc<TextService>>,
    incoming: &Incoming,
    ask: &EmbeddingRequest<'_>,
    client: ClientHandle,
    replies: Replies,
) -> Vec<u8> {
    let Some(words) = words else {
        return replies.failed(&NO_TEXT);
    };
    let prompt = match prompt(&ask.input) {
        Ok(prompt) => prompt,
        Err(text) => return replies.failed(&text),
    };
    let shares = incoming.parameter("ranges").and_then(parse_shares);
    let embedded = match words.embed(ask.options, shares, prompt, client).await {
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

fn request(ask: &GenerationRequest<'_>, shares: Option<Vec<u16>>) -> Result<Ask, String> {
    let SamplingParams {
        temperature,
        top_p,
        top_k,
        repetition_penalty,
        seed,
    } = ask.sampling;
    Ok(Ask {
        options: ask.options,
        shares,
        prompt: prompt(&ask.prompt)?,
        sampling: Sampling {
            temperature,
            top_p,
            top_k,
            repetition_penalty,
            seed,
        },
        stops: ask.stop.iter().map(|stop| (*stop).to_owned()).collect(),
        max_tokens: ask.max_tokens.map(|tokens| tokens as usize),
    })
}

fn prompt(words: &WirePrompt<'_>) -> Result<Prompt, String> {
    match words {
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
