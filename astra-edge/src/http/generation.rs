//! `/v1/completions` and `/v1/chat/completions`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;

use super::answer::{Endpoint, ResponseBody};
use super::api::{Api, Slot};
use super::body::Asked;
use super::error::{ApiError, json_response};
use super::parameters::{Parameters, Requested};
use crate::cluster::request::client_handle::ClientHandle;
use crate::text::{TextError, TextEvent, TextStream};

pub(super) async fn completions(
    State(api): State<Arc<Api>>,
    Asked { slot, body }: Asked<Parameters>,
) -> Result<Response, ApiError> {
    respond(api, slot, body, Endpoint::Completions).await
}

pub(super) async fn chat(
    State(api): State<Arc<Api>>,
    Asked { slot, body }: Asked<Parameters>,
) -> Result<Response, ApiError> {
    respond(api, slot, body, Endpoint::ChatCompletions).await
}

async fn respond(
    api: Arc<Api>,
    slot: Slot,
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
    let client = ClientHandle::at(slot);
    let text = service.generate(options.context(client.clone()), request);
    let text = text.await.map_err(failed)?;
    let body = ResponseBody::new(endpoint, Arc::clone(&api), usage);
    if !stream {
        let whole = whole(text, &body).await.map_err(failed)?;
        return Ok(json_response(StatusCode::OK, &whole));
    }
    // What fails before the first text still gets a status of its own.
    let mut stream = SseStream::new(text, body, client);
    stream.first().await.map_err(failed)?;
    Ok(stream.response())
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

/// A response as server-sent events. Dropping it, as when the client hangs up, ends the generation.
struct SseStream {
    text: TextStream,
    body: ResponseBody,
    /// Lines to be sent next.
    ready: String,
    ended: bool,
    /// Keeps its place while the client reads.
    _client: ClientHandle,
}

impl SseStream {
    fn new(text: TextStream, body: ResponseBody, client: ClientHandle) -> Self {
        Self {
            text,
            body,
            ready: String::new(),
            ended: false,
            _client: client,
        }
    }

    /// Waits for the first event and makes lines of it.
    async fn first(&mut self) -> Result<(), TextError> {
        let event = self.text.next().await;
        let event = event.unwrap_or_else(|| Err(TextError::Stopped("nothing came".to_owned())))?;
        if let Some(first) = self.body.first_chunk() {
            self.line(&first);
        }
        self.event(event);
        Ok(())
    }

    fn event(&mut self, event: TextEvent) {
        match event {
            TextEvent::Delta(text) => {
                let chunk = self.body.delta(&text);
                self.line(&chunk);
            }
            TextEvent::Finished(response) => {
                for chunk in self.body.last_chunks(&response) {
                    self.line(&chunk);
                }
                self.ready.push_str("data: [DONE]\n\n");
                self.ended = true;
            }
        }
    }

    fn line(&mut self, value: &Value) {
        // JSON has no line breaks of its own.
        self.ready.push_str(&format!("data: {value}\n\n"));
    }

    /// The next lines; `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ready.is_empty() && !self.ended {
            match self.text.next().await {
                Some(Ok(event)) => self.event(event),
                Some(Err(error)) => {
                    let error = ApiError::of_words(&error, "prompt");
                    self.line(&error.body());
                    self.ended = true;
                }
                None => self.ended = true,
            }
        }
        let ready = std::mem::take(&mut self.ready);
        (!ready.is_empty()).then(|| ready.into())
    }

    fn response(self) -> Response {
        let lines = stream::unfold(self, |mut events| async move {
            let lines = events.next().await?;
            Some((Ok::<_, Infallible>(lines), events))
        });
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers, Body::from_stream(lines)).into_response()
    }
}
