//! `/v1/completions` and `/v1/chat/completions`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::addresses::Peer;
use super::answer::{Endpoint, ResponseBody};
use super::api::{Api, Slot};
use super::body::Asked;
use super::error::{ApiError, json_response};
use super::parameters::{Parameters, Requested};
use crate::cluster::request::client_handle::ClientHandle;
use crate::text::{TextError, TextEvent, TextStream};

pub(super) async fn completions(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    Asked { slot, body }: Asked<Parameters>,
) -> Result<Response, ApiError> {
    respond(api, (slot, peer), body, Endpoint::Completions).await
}

pub(super) async fn chat(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<Peer>,
    Asked { slot, body }: Asked<Parameters>,
) -> Result<Response, ApiError> {
    respond(api, (slot, peer), body, Endpoint::ChatCompletions).await
}

async fn respond(
    api: Arc<Api>,
    (slot, peer): (Slot, Peer),
    parameters: Parameters,
    endpoint: Endpoint,
) -> Result<Response, ApiError> {
    api.check_model(parameters.model.as_deref())?;
    let service = api.words()?;
    let requested = match endpoint {
        Endpoint::Completions => parameters.completion()?,
        Endpoint::ChatCompletions => parameters.chat()?,
    };
    let failed = |error: TextError| ApiError::of_words(&error, endpoint.input());
    let Requested {
        request,
        options,
        stream,
        usage,
    } = requested;
    let client = ClientHandle::at(slot).owned_by(peer.0);
    let text = service.generate(options.context(client.clone()), request);
    let text = text.await.map_err(failed)?;
    let body = ResponseBody::new(endpoint, Arc::clone(&api), usage);
    if !stream {
        let whole = whole(text, &body).await.map_err(failed)?;
        return Ok(json_response(StatusCode::OK, &whole));
    }
    let keep_alive = api.keep_alive;
    let response = streamed(text, body, client, keep_alive).await;
    response.map_err(failed)
}

async fn whole(mut stream: TextStream, body: &ResponseBody) -> Result<Value, TextError> {
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        match event? {
            TextEvent::Delta(delta) => text.push_str(&delta),
            TextEvent::Finished(response) => return Ok(body.whole(&text, &response)),
        }
    }
    Err(TextError::Stopped("a text without an end".to_owned()))
}

/// Server-sent events of a response. Dropping the stream, as when the client disconnects, ends the generation.
///
/// # Errors
/// The generation fails before its first event, and the client still gets a status for that.
async fn streamed(
    mut text: TextStream,
    body: ResponseBody,
    client: ClientHandle,
    keep_alive: Duration,
) -> Result<Response, TextError> {
    let first = text.next().await;
    let first = first.unwrap_or_else(|| Err(TextError::Stopped("nothing came".to_owned())))?;
    let rest = stream::unfold(text, |mut text| async move {
        let event = text.next().await?;
        Some((event, text))
    });
    let start = body.first_chunk().as_ref().map(json_event);
    let texts = stream::iter([Ok(first)]).chain(rest);
    let texts = texts.flat_map(move |event| {
        // The permit of the request is held until the client has read the last event.
        let _client = &client;
        stream::iter(sse_events(&body, event))
    });
    let events = stream::iter(start).chain(texts).map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(keep_alive);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

fn sse_events(body: &ResponseBody, event: Result<TextEvent, TextError>) -> Vec<Event> {
    match event {
        Ok(TextEvent::Delta(text)) => vec![json_event(&body.delta(&text))],
        Ok(TextEvent::Finished(response)) => {
            let chunks = body.last_chunks(&response);
            let done = Event::default().data("[DONE]");
            chunks.iter().map(json_event).chain([done]).collect()
        }
        Err(error) => vec![json_event(&ApiError::of_words(&error, "prompt").body())],
    }
}

fn json_event(value: &Value) -> Event {
    Event::default().data(value.to_string())
}
