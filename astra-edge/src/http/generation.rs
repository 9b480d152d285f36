//! `/v1/completions` and `/v1/chat/completions`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;

use super::answer::{Answer, Kind};
use super::api::{Api, Slot};
use super::body::Asked;
use super::error::{ApiError, json_response};
use super::parameters::{Parameters, Wanted};
use crate::cluster::request::client_handle::ClientHandle;
use crate::text::{Event, TextError, Writing};

pub(super) async fn completions(
    State(api): State<Arc<Api>>,
    Asked { slot, body }: Asked<Parameters>,
) -> Result<Response, ApiError> {
    respond(api, slot, body, Kind::Completion).await
}

pub(super) async fn chat(
    State(api): State<Arc<Api>>,
    Asked { slot, body }: Asked<Parameters>,
) -> Result<Response, ApiError> {
    respond(api, slot, body, Kind::Chat).await
}

async fn respond(
    api: Arc<Api>,
    slot: Slot,
    parameters: Parameters,
    kind: Kind,
) -> Result<Response, ApiError> {
    api.check_model(parameters.model.as_deref())?;
    let words = api.words()?;
    let Wanted { ask, stream, usage } = match kind {
        Kind::Completion => parameters.completion()?,
        Kind::Chat => parameters.chat()?,
    };
    let failed = |error: TextError| ApiError::of_words(&error, kind.input());
    let asker = ClientHandle::at(slot);
    let writing = words.write(ask, asker.clone()).await.map_err(failed)?;
    let answer = Answer::new(kind, Arc::clone(&api), usage);
    if !stream {
        let whole = whole(writing, &answer).await.map_err(failed)?;
        return Ok(json_response(StatusCode::OK, &whole));
    }
    // What fails before the first word still gets a status of its own.
    let mut telling = Telling::new(writing, answer, asker);
    telling.first().await.map_err(failed)?;
    Ok(telling.response())
}

async fn whole(mut writing: Writing, answer: &Answer) -> Result<Value, TextError> {
    let mut text = String::new();
    while let Some(event) = writing.next().await {
        match event? {
            Event::Piece(piece) => text.push_str(&piece),
            Event::End(ended) => return Ok(answer.whole(&text, &ended)),
        }
    }
    Err(TextError::Stopped("a text without an end".to_owned()))
}

/// An answer on its way, as server-sent events. Dropping it, as when the client hangs up, ends the generation.
struct Telling {
    writing: Writing,
    answer: Answer,
    /// Lines to be sent next.
    ready: String,
    ended: bool,
    /// Keeps its place while the client reads.
    _asker: ClientHandle,
}

impl Telling {
    fn new(writing: Writing, answer: Answer, asker: ClientHandle) -> Self {
        Self {
            writing,
            answer,
            ready: String::new(),
            ended: false,
            _asker: asker,
        }
    }

    /// ClientConnection for the first event and makes lines of it.
    async fn first(&mut self) -> Result<(), TextError> {
        let event = self.writing.next().await;
        let event = event.unwrap_or_else(|| Err(TextError::Stopped("nothing came".to_owned())))?;
        if let Some(opening) = self.answer.opening() {
            self.line(&opening);
        }
        self.tell(event);
        Ok(())
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Piece(text) => {
                let piece = self.answer.piece(&text);
                self.line(&piece);
            }
            Event::End(ended) => {
                for chunk in self.answer.closing(&ended) {
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
            match self.writing.next().await {
                Some(Ok(event)) => self.tell(event),
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
        let lines = stream::unfold(self, |mut telling| async move {
            let lines = telling.next().await?;
            Some((Ok::<_, Infallible>(lines), telling))
        });
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers, Body::from_stream(lines)).into_response()
    }
}
