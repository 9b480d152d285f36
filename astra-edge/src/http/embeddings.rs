//! `/v1/embeddings`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::Api;
use super::astra::{Options, Took};
use super::body::Asked;
use super::error::{ApiError, json_response};
use super::parameters::Tokens;
use crate::cluster::Asker;

/// Most texts of a request: they are computed one after the other.
const MAX_INPUTS: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    model: Option<String>,
    input: Tokens,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<usize>,
    #[serde(rename = "user")]
    _user: Option<Value>,
    astra: Option<Options>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    /// Little-endian float32, as base64.
    Base64,
}

pub(super) async fn embeddings(
    State(api): State<Arc<Api>>,
    Asked { slot, body }: Asked<Parameters>,
) -> Result<Response, ApiError> {
    api.check_model(body.model.as_deref())?;
    let words = api.words()?;
    let options = body.astra.unwrap_or_default();
    options.check_no_sampling()?;
    let width = api.manifest.shape.hidden;
    if body.dimensions.is_some_and(|wanted| wanted != width) {
        let message = format!("embeddings are not cut short: expected {width} or nothing");
        return Err(ApiError::unsupported("dimensions", message));
    }
    let inputs = body.input.all();
    if inputs.is_empty() || inputs.len() > MAX_INPUTS {
        let message = format!("{} texts: expected 1 to {MAX_INPUTS}", inputs.len());
        return Err(ApiError::invalid("input", message));
    }
    let (asker, _waits) = Asker::at(slot).that_waits();
    let mut data = Vec::new();
    let (mut tokens, mut latency, mut bytes) = (0, 0.0, 0);
    for (index, input) in inputs.into_iter().enumerate() {
        let embedded = words.embed(options.ask(), options.shares(), input, asker.clone());
        let (embedded, found) = embedded
            .await
            .map_err(|error| ApiError::of_words(&error, "input"))?;
        let report = &embedded.report;
        tokens += found;
        latency += report.latency_ms;
        let frames: u64 = report.members.iter().map(|member| member.bytes_sent).sum();
        bytes += frames;
        data.push(json!({
            "object": "embedding",
            "index": index,
            "embedding": write(&embedded.embedding, body.encoding_format),
            "astra": Took::of(report, &api.manifest).value(),
        }));
    }
    let whole = json!({
        "object": "list",
        "model": api.model(),
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
        "astra": { "texts": data.len(), "latency_ms": latency, "frame_bytes": bytes },
        "data": data,
    });
    Ok(json_response(StatusCode::OK, &whole))
}

fn write(embedding: &[f32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => json!(embedding),
        Encoding::Base64 => {
            let bytes: Vec<u8> = embedding.iter().flat_map(|x| x.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        }
    }
}
