//! `/v1/models`: the one model there is.

use std::sync::Arc;

use astra_bundle::Family;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::api::Api;
use super::error::json_response;

pub(super) async fn list(State(api): State<Arc<Api>>) -> Response {
    let list = json!({ "object": "list", "data": [card(&api)] });
    json_response(StatusCode::OK, &list)
}

pub(super) async fn one(State(api): State<Arc<Api>>, Path(model): Path<String>) -> Response {
    match api.check_model(Some(&model)) {
        Ok(()) => json_response(StatusCode::OK, &card(&api)),
        Err(error) => error.into_response(),
    }
}

fn card(api: &Api) -> Value {
    let manifest = &api.manifest;
    let rungs: Vec<u32> = manifest.rungs.iter().map(|rung| rung.bits).collect();
    let family: Family = manifest.family;
    json!({
        "id": api.model(),
        "object": "model",
        "created": api.started(),
        "owned_by": "astra-edge",
        "astra": {
            "family": family,
            "task": manifest.task,
            "max_tokens": manifest.text.as_ref().map(|text| text.max_tokens),
            "image_size": manifest.image.as_ref().map(|image| image.size),
            "rungs": rungs,
            "bundle": api.bundle,
        },
    })
}
