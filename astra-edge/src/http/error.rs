//! Errors in the form of OpenAI's API: `{"error": {"message", "type", "param", "code"}}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::cluster::request::admission::Overloaded;
use crate::cluster::request::error::RequestError;
use crate::text::TextError;
use astra_model::tasks::text::template::TemplateError;
use astra_model::tasks::text::tokenizer::TokenizerError;

/// The error of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The kind of error, for programs.
    pub code: &'static str,
    /// The parameter it is about.
    pub param: Option<String>,
    /// What was found, and what was expected.
    pub message: String,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        param: Option<&str>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            param: param.map(str::to_owned),
            message: message.into(),
        }
    }

    /// A value that is not possible.
    pub(super) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_value",
            Some(param),
            message,
        )
    }

    /// A parameter that is known, and not supported.
    pub(super) fn unsupported(param: &str, message: impl Into<String>) -> Self {
        let code = "unsupported_parameter";
        Self::new(StatusCode::BAD_REQUEST, code, Some(param), message)
    }

    pub(super) fn unknown_model(wanted: &str, there: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            Some("model"),
            format!("model: found {wanted:?}, expected {there:?}"),
        )
    }

    pub(super) fn task(model: &str, wanted: &str, found: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "unsupported_task",
            Some("model"),
            format!("the model {model} does not {wanted}: {found}"),
        )
    }

    fn empty(param: &str) -> Self {
        let status = StatusCode::BAD_REQUEST;
        let message = format!("{param}: found no text, expected at least one token");
        Self::new(status, "empty_prompt", Some(param), message)
    }

    fn too_long(param: &str, found: usize, most: usize) -> Self {
        let status = StatusCode::BAD_REQUEST;
        let message = format!("{param}: found {found} tokens, expected at most {most}");
        Self::new(status, "context_length_exceeded", Some(param), message)
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "internal_error", None, message)
    }

    /// The error of a text request, whose input is parameter `param`.
    pub(super) fn of_words(error: &TextError, param: &str) -> Self {
        let refused = |code, param| {
            Self::new(
                StatusCode::BAD_REQUEST,
                code,
                Some(param),
                error.to_string(),
            )
        };
        match error {
            TextError::Task { .. }
            | TextError::NoTemplate
            | TextError::Template(TemplateError::Parse(_)) => refused("unsupported_task", "model"),
            TextError::Empty => Self::empty(param),
            TextError::TooLong { found, most } => Self::too_long(param, *found, *most),
            TextError::NoTokens => refused("invalid_value", "max_tokens"),
            TextError::UnknownToken { .. }
            | TextError::Template(TemplateError::Refused(_))
            | TextError::Tokenizer(
                TokenizerError::Encode(_) | TokenizerError::UnknownToken { .. },
            ) => refused("invalid_value", param),
            TextError::Sampling(error) => refused("invalid_value", error.field),
            TextError::Stop(_) => refused("invalid_value", "stop"),
            TextError::Request(error) => Self::of_request(error, param),
            _ => Self::failed(error.to_string()),
        }
    }

    /// The error of a request, whose input is parameter `param`.
    pub(super) fn of_request(error: &RequestError, param: &str) -> Self {
        let refused_as = |code, param| {
            let status = StatusCode::BAD_REQUEST;
            Self::new(status, code, Some(param), error.to_string())
        };
        let refused = |param| refused_as("invalid_value", param);
        match error {
            RequestError::Image(_) | RequestError::UnknownToken { .. } => refused(param),
            RequestError::Task { .. } => refused_as("unsupported_task", "model"),
            RequestError::Empty => Self::empty(param),
            RequestError::TooLong { found, most } => Self::too_long(param, *found, *most),
            RequestError::Rung(_) => refused("astra.rung"),
            RequestError::Choose(_) => refused("astra.ranges"),
            RequestError::Deadline(_) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "deadline", None, error.to_string())
            }
            _ => Self::failed(error.to_string()),
        }
    }

    /// The body.
    pub(super) fn body(&self) -> Value {
        let kind = if self.status.is_client_error() {
            "invalid_request_error"
        } else {
            "server_error"
        };
        json!({
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.body());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<Overloaded> for ApiError {
    fn from(overloaded: Overloaded) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "overloaded", None, overloaded.to_string())
    }
}

/// A response of JSON.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, body.to_string()).into_response()
}
