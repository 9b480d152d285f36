//! A request's body, read with limits of time and size.

use std::sync::Arc;

use axum::body::{BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::api::{Api, Slot};
use super::error::ApiError;
use super::json::parse;
use crate::cluster::request::admission::Overloaded;
use crate::link::TakenBytes;

/// Most bytes of a refused body that are read and dropped, so that the client gets to reading the refusal.
const MAX_DRAINED: usize = 64 << 20;

/// Most bytes of JSON that are read on an asynchronous worker: less than a millisecond's work.
const MAX_INLINE: usize = 64 << 10;

/// A body of JSON, and the request's place among those in progress.
pub(super) struct Asked<T> {
    pub(super) slot: Slot,
    pub(super) body: T,
}

/// A body of any type, and the request's place among those in progress.
pub(super) struct RawBody {
    pub(super) slot: Slot,
    /// The declared media type, in lower case, without parameters.
    pub(super) kind: String,
    pub(super) bytes: Bytes,
    /// Room for the bytes.
    pub(super) room: TakenBytes,
}

/// Largest body of a route, in bytes; an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimit(pub(super) usize);

impl FromRequest<Arc<Api>> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let reading = tokio::time::timeout(api.patience, read(request, api));
        reading.await.unwrap_or_else(|_| {
            let message = format!(
                "body: found no end within {:?}, expected all of it",
                api.patience
            );
            let status = StatusCode::REQUEST_TIMEOUT;
            Err(ApiError::new(status, "timeout", None, message))
        })
    }
}

impl<T: DeserializeOwned + Send + 'static> FromRequest<Arc<Api>> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let raw = RawBody::from_request(request, api).await?;
        if raw.kind != "application/json" {
            let found = raw.kind;
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                None,
                format!("content-type: found {found:?}, expected \"application/json\""),
            ));
        }
        let body = parsed(raw.bytes, raw.room).await?;
        Ok(Self {
            slot: raw.slot,
            body,
        })
    }
}

/// Reads JSON, a long one on a thread that may take its time.
async fn parsed<T: DeserializeOwned + Send + 'static>(
    bytes: Bytes,
    room: TakenBytes,
) -> Result<T, ApiError> {
    if bytes.len() <= MAX_INLINE {
        return parse(&bytes);
    }
    let parsing = tokio::task::spawn_blocking(move || {
        let _room = room;
        parse(&bytes)
    });
    parsing
        .await
        .unwrap_or_else(|error| Err(ApiError::failed(error.to_string())))
}

async fn read(request: Request, api: &Api) -> Result<RawBody, ApiError> {
    let limit = request.extensions().get::<BodyLimit>();
    let limit = limit.map_or(0, |limit| limit.0);
    // A client that waits for `100 Continue` sends nothing before it reads the refusal.
    let waits = request.headers().contains_key(header::EXPECT);
    let media_type = media_type(request.headers());
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let mut body = request.into_body().into_data_stream();
    // Before the body, so that requests that wait take bounded memory.
    let slot = match api.admission.admit() {
        Ok(slot) if length.is_none_or(|length| length <= limit as u64) => slot,
        refused => {
            if !waits {
                drain(body).await;
            }
            return Err(refused.map_or_else(ApiError::from, |_| too_large(limit)));
        }
    };
    // Without a length, as much as may come.
    let most = length.map_or(limit, |length| usize::try_from(length).unwrap_or(limit));
    let Some(room) = api.bytes.take(most) else {
        if !waits {
            drain(body).await;
        }
        return Err(ApiError::from(Overloaded::Memory));
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| unreadable(&error))?;
        if bytes.len() + chunk.len() > limit {
            drop((bytes, slot, room));
            drain(body).await;
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(RawBody {
        slot,
        kind: media_type,
        bytes: bytes.into(),
        room,
    })
}

/// Reads the rest of a refused body. If the connection were closed with unread data in it, the system would reset it, and the client
/// would see that instead of the refusal.
async fn drain(mut body: BodyDataStream) {
    let mut drained = 0;
    while let Some(Ok(chunk)) = body.next().await {
        drained += chunk.len();
        if drained > MAX_DRAINED {
            return;
        }
    }
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = value.split(';').next().unwrap_or("");
    media_type.trim().to_ascii_lowercase()
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        None,
        format!("body: found a larger one, expected at most {limit} bytes"),
    )
}

fn unreadable(error: &axum::Error) -> ApiError {
    let message = format!("body: {error}");
    ApiError::new(StatusCode::BAD_REQUEST, "unreadable_body", None, message)
}
