//! `/v1/embeddings`.
//!
//! All texts of a request are divided into tokens before the first is computed, so that one that is refused costs nothing.
//! They are then computed one after the other, each with the time that the request gives to a text; what is kept of each is
//! its vector, and JSON is made of one at a time as the answer is sent.

use std::convert::Infallible;
use std::iter;
use std::sync::Arc;

use astra_bundle::Task;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::Api;
use super::astra::{Options, RequestStats};
use super::body::Asked;
use super::error::ApiError;
use super::parameters::PromptInput;
use super::rest::{self, Rest};
use super::whole::whole;
use crate::cluster::request::client_handle::ClientHandle;
use crate::cluster::request::embedding::Embedded;
use crate::text::{Prompt, TextError, TextService};

/// Most texts of a request, as in OpenAI's API.
pub(super) const MAX_INPUTS: usize = 2048;

#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    model: Option<String>,
    input: PromptInput,
    encoding_format: Option<Encoding>,
    #[serde(default, deserialize_with = "whole")]
    dimensions: Option<i128>,
    astra: Option<Options>,
    #[serde(flatten)]
    rest: Rest,
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
    rest::check(&body.rest)?;
    let options = body.astra.unwrap_or_default();
    options.check_no_sampling()?;
    let hidden = api.manifest.shape.hidden;
    let width = match &api.manifest.task {
        Task::Embedding(embedding) => embedding.width(hidden),
        _ => hidden,
    };
    if body
        .dimensions
        .is_some_and(|wanted| wanted != width as i128)
    {
        let message = format!("embeddings are not cut short: expected {width} or nothing");
        return Err(ApiError::unsupported("dimensions", message));
    }
    let inputs = body.input.all();
    if inputs.is_empty() || inputs.len() > MAX_INPUTS {
        let message = format!(
            "input: found {} texts, expected 1 to {MAX_INPUTS}",
            inputs.len()
        );
        return Err(ApiError::invalid("input", message));
    }
    let (client, _connection) = ClientHandle::at(slot).with_connection();
    let texts = inputs.len();
    let computed = compute(words, inputs, &options, &client).await;
    let computed = computed.map_err(|(index, error)| of_text(&error, index, texts))?;
    let encoding = body.encoding_format.unwrap_or_default();
    Ok(respond(api, computed, encoding, client))
}

/// Vectors of all texts.
#[derive(Default)]
struct Computed {
    embedded: Vec<Embedded>,
    /// Tokens of all texts.
    tokens: usize,
    latency_ms: f64,
    /// Bytes of code frames between members.
    frame_bytes: u64,
}

/// Vectors of all texts, or which of them has none and why.
async fn compute(
    words: &TextService,
    inputs: Vec<Prompt>,
    options: &Options,
    client: &ClientHandle,
) -> Result<Computed, (usize, TextError)> {
    let mut computed = Computed::default();
    for (index, ids) in words.tokens(inputs).await?.into_iter().enumerate() {
        let prompt = Prompt::Tokens(ids);
        let one = words.embed(options.context(client.clone()), prompt);
        let (one, tokens) = one.await.map_err(|error| (index, error))?;
        let members = one.report.members.iter();
        computed.frame_bytes += members.map(|member| member.bytes_sent).sum::<u64>();
        computed.latency_ms += one.report.latency_ms;
        computed.tokens += tokens;
        computed.embedded.push(one);
    }
    Ok(computed)
}

/// The error of one text, which says which it is where there are several.
fn of_text(error: &TextError, index: usize, texts: usize) -> ApiError {
    let mut refused = ApiError::of_words(error, "input");
    if texts > 1 {
        let message = &refused.message;
        let message = message.strip_prefix("input: ").unwrap_or(message);
        refused.message = format!("input[{index}]: {message}");
    }
    refused
}

/// The answer, of which JSON is made one vector at a time. The place is taken while the client reads.
fn respond(
    api: Arc<Api>,
    computed: Computed,
    encoding: Encoding,
    client: ClientHandle,
) -> Response {
    let Computed {
        embedded,
        tokens,
        latency_ms,
        frame_bytes,
    } = computed;
    let frame = json!({
        "object": "list",
        "model": api.model(),
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
        "astra": { "texts": embedded.len(), "latency_ms": latency_ms, "frame_bytes": frame_bytes },
    })
    .to_string();
    // The vectors are the last field of this object.
    let head = format!("{},\"data\":[", frame.strip_suffix('}').unwrap_or(&frame));
    let vectors = embedded.into_iter().enumerate().map(move |(index, one)| {
        let _place = &client;
        let comma = if index == 0 { "" } else { "," };
        let vector = json!({
            "object": "embedding",
            "index": index,
            "embedding": write(&one.embedding, encoding),
            "astra": RequestStats::of(&one.report).value(),
        });
        format!("{comma}{vector}")
    });
    let chunks = iter::once(head)
        .chain(vectors)
        .chain(iter::once("]}".to_owned()));
    let chunks = chunks.map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)));
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, Body::from_stream(stream::iter(chunks))).into_response()
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
