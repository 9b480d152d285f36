//! A request's body, read with limits.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::api::{Api, Slot};
use super::error::ApiError;

/// A body of JSON, and its place among the requests worked on.
pub(super) struct Asked<T> {
    pub(super) slot: Slot,
    pub(super) body: T,
}

/// A body as it came, and its place among the requests worked on.
pub(super) struct Raw {
    pub(super) slot: Slot,
    /// What it is said to be, in lower case, without parameters.
    pub(super) kind: String,
    pub(super) bytes: Bytes,
}

impl FromRequest<Arc<Api>> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        // Before the body, so that what waits in memory is bounded.
        let slot = api.admission.admit()?;
        let kind = content_type(request.headers());
        let reading = tokio::time::timeout(api.patience, Bytes::from_request(request, api));
        let bytes = reading.await.map_err(|_| {
            let message = format!("the body did not come within {:?}", api.patience);
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", None, message)
        })?;
        Ok(Self {
            slot,
            kind,
            bytes: bytes.map_err(|error| unread(&error))?,
        })
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let Raw { slot, kind, bytes } = Raw::from_request(request, api).await?;
        if kind != "application/json" {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                None,
                format!("the body is declared as {kind:?}: expected \"application/json\""),
            ));
        }
        let body = parse(&bytes)?;
        Ok(Self { slot, body })
    }
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = value.split(';').next().unwrap_or("");
    kind.trim().to_ascii_lowercase()
}

fn unread(error: &BytesRejection) -> ApiError {
    match error {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                None,
                "the body is larger than this route takes",
            )
        }
        other => ApiError::new(
            StatusCode::BAD_REQUEST,
            "unreadable_body",
            None,
            other.body_text(),
        ),
    }
}

/// Reads JSON, and says where and why if it is not what was expected.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let malformed =
        |message| ApiError::new(StatusCode::BAD_REQUEST, "malformed_json", None, message);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        malformed(format!(
            "the body is not UTF-8: byte {at} begins no character"
        ))
    })?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_syntax() || error.is_eof() {
            return malformed(format!("the body is not JSON: {error}"));
        }
        let mut refused = ApiError::invalid("", error.to_string());
        refused.param = (path != ".").then_some(path);
        refused
    })?;
    let end = json.end();
    end.map_err(|error| malformed(format!("the body is not JSON: {error}")))?;
    Ok(value)
}
