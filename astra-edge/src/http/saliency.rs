//! `/v1/saliency`: where a picture draws the eye.

use std::sync::Arc;

use astra_bundle::Task;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::api::Api;
use super::astra::{Options, RequestStats};
use super::body::RawBody;
use super::error::{ApiError, json_response};
use super::json::parse;
use super::rest::{self, Rest};
use crate::cluster::request::client_handle::ClientHandle;
use crate::cluster::request::image::{ImageReply, ImageRequest};
use astra_model::engine::Map;
use astra_model::tasks::overlay::map_png;

/// Header that carries `astra` beside a picture.
const ASTRA: &str = "x-astra";

#[derive(Debug, Deserialize)]
struct Parameters {
    model: Option<String>,
    /// Base64, or a data URL of it.
    image: String,
    astra: Option<Options>,
    #[serde(flatten)]
    rest: Rest,
}

/// How the map is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Png,
}

pub(super) async fn saliency(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    raw: RawBody,
) -> Result<Response, ApiError> {
    let RawBody {
        slot,
        kind,
        bytes,
        room,
    } = raw;
    let form = form(&headers)?;
    let own = Arc::clone(&api);
    // A picture of the largest size takes a while as base64.
    let decoding = tokio::task::spawn_blocking(move || picture(&own, &kind, bytes)).await;
    let (image, options) = decoding.map_err(|error| ApiError::failed(error.to_string()))??;
    options.check_no_sampling()?;
    let pictures = Arc::clone(api.pictures()?);
    if api.manifest.task != Task::Saliency {
        let found = "it answers no map";
        return Err(ApiError::task(api.model(), "find what is salient", found));
    }
    if image.is_empty() {
        return Err(ApiError::invalid("image", "an empty picture"));
    }
    let (client, _connection) = ClientHandle::at(slot).with_connection();
    let request = ImageRequest {
        context: options.context(client),
        image,
    };
    // In a task of its own: dropped half-way, a request would leave members at work without a coordinator.
    let answered = tokio::spawn(async move {
        let _room = room;
        pictures.answer(request).await
    })
    .await;
    let reply = answered
        .map_err(|error| ApiError::failed(error.to_string()))?
        .map_err(|error| ApiError::of_request(&error, "image"))?;
    let responding = tokio::task::spawn_blocking(move || respond(&api, &reply, form)).await;
    responding.map_err(|error| ApiError::failed(error.to_string()))?
}

/// The picture and how to answer. What it came in is not kept: it is as large, and the answer may take its time.
fn picture(api: &Api, kind: &str, bytes: Bytes) -> Result<(Vec<u8>, Options), ApiError> {
    match kind {
        "application/json" => {
            let parameters: Parameters = parse(&bytes)?;
            api.check_model(parameters.model.as_deref())?;
            rest::check(&parameters.rest)?;
            let options = parameters.astra.unwrap_or_default();
            Ok((decode(&parameters.image)?, options))
        }
        kind if kind.starts_with("image/") || kind == "application/octet-stream" => {
            Ok((bytes.into(), Options::default()))
        }
        other => Err(other_media_type(other)),
    }
}

fn respond(api: &Api, reply: &ImageReply, form: Form) -> Result<Response, ApiError> {
    let map = reply.answer.map.as_ref();
    let map = map.ok_or_else(|| ApiError::failed("the model answered no map"))?;
    let took = RequestStats::of(&reply.report).value();
    if form == Form::Png {
        return png(map, &took.to_string());
    }
    let body = json!({
        "object": "saliency",
        "model": api.model(),
        "height": map.height,
        "width": map.width,
        "map": map.values,
        // Where the picture lies in the square that the map covers.
        "input": reply.report.input,
        "astra": took,
    });
    Ok(json_response(StatusCode::OK, &body))
}

fn png(map: &Map, took: &str) -> Result<Response, ApiError> {
    let png = map_png(&map.values, [map.height, map.width]);
    let png = png.map_err(|error| ApiError::failed(error.to_string()))?;
    let mut response = ([(header::CONTENT_TYPE, "image/png")], png).into_response();
    if let Ok(took) = HeaderValue::from_bytes(took.as_bytes()) {
        response.headers_mut().insert(ASTRA, took);
    }
    Ok(response)
}

fn decode(text: &str) -> Result<Vec<u8>, ApiError> {
    let base64 = match text.strip_prefix("data:") {
        None => text,
        Some(url) => {
            let (kind, data) = url.split_once(',').unwrap_or_default();
            if !kind.ends_with(";base64") {
                let message = "a data URL of another encoding: expected data:image/...;base64,...";
                return Err(ApiError::invalid("image", message));
            }
            data
        }
    };
    STANDARD
        .decode(base64.trim())
        .map_err(|error| ApiError::invalid("image", format!("no base64: {error}")))
}

/// The first of the two forms that the client names.
fn form(headers: &HeaderMap) -> Result<Form, ApiError> {
    let accept = headers.get(header::ACCEPT);
    let accept = accept
        .and_then(|value| value.to_str().ok())
        .unwrap_or("*/*");
    let forms =
        accept
            .split(',')
            .filter_map(|range| match range.split(';').next().unwrap_or("").trim() {
                "image/png" | "image/*" => Some(Form::Png),
                "application/json" | "application/*" | "*/*" => Some(Form::Json),
                _ => None,
            });
    let mut forms = forms;
    forms.next().ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            None,
            format!("Accept: found {accept:?}, expected application/json or image/png in it"),
        )
    })
}

fn other_media_type(kind: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        None,
        format!("the body is declared as {kind:?}: expected a picture or \"application/json\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> Result<Form, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(value));
        form(&headers)
    }

    #[test]
    fn the_first_form_named_is_answered() {
        assert_eq!(form(&HeaderMap::new()).unwrap(), Form::Json);
        assert_eq!(accept("*/*").unwrap(), Form::Json);
        assert_eq!(accept("image/png").unwrap(), Form::Png);
        assert_eq!(
            accept("text/html, image/png;q=0.9, */*").unwrap(),
            Form::Png
        );
        assert_eq!(accept("text/html").unwrap_err().status, 406);
    }

    #[test]
    fn pictures_come_as_base64_or_data_url() {
        assert_eq!(decode("aGk=").unwrap(), b"hi");
        assert_eq!(decode("data:image/png;base64,aGk=").unwrap(), b"hi");
        for wrong in ["a b", "data:image/png,hi", "data:"] {
            assert_eq!(decode(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
