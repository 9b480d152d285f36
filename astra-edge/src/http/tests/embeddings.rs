//! `/v1/embeddings`: one text and many.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::bad::refused;
use super::*;
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::response::GenerationResponse;
use crate::generation::GenerationRequest;
use crate::report::Report;
use crate::text::TokenModel;
use crate::text::fake::{embedder, embedder_by};

const PATH: &str = "/v1/embeddings";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_of_every_form() {
    let bed = Bed::of(embedder()).await;
    for (input, counts) in [
        (json!("hello"), vec![1.0]),
        (json!(["hello", "a b c"]), vec![1.0, 5.0]),
        (json!([5, 6, 7]), vec![3.0]),
        (json!([[5, 6], [7]]), vec![2.0, 1.0]),
    ] {
        let said = bed.post("/v1/embeddings", &json!({ "model": MODEL, "input": input }));
        let answer = said.json();
        assert_eq!(said.status, 200, "{said:?}");
        for (index, count) in counts.iter().enumerate() {
            let item = &answer["data"][index];
            assert_eq!(item["embedding"], json!([count, 0.5, -1.0]));
            assert_eq!(item["index"], index);
            assert!(item["astra"]["members"].is_array());
        }
        let sum: f64 = counts.iter().sum();
        assert_eq!(answer["usage"]["prompt_tokens"], sum as u64);
        assert_eq!(answer["astra"]["texts"], counts.len());
    }
    let said = bed.post(
        "/v1/embeddings",
        &json!({ "input": "hello", "encoding_format": "base64" }),
    );
    // 1.0, 0.5 and -1.0 as little-endian float32.
    assert_eq!(said.json()["data"][0]["embedding"], "AACAPwAAAD8AAIC/");
    assert_eq!(bed.api.admission.free(), MAX_REQUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_asks_for_nothing_is_taken() {
    let bed = Bed::of(embedder()).await;
    let plain = bed.post(PATH, &json!({ "input": "hello" })).json()["data"].clone();
    for body in [
        json!({ "input": "hello", "encoding_format": null, "dimensions": null, "user": null, "model": null,
                "astra": null, "input_type": null }),
        json!({ "input": "hello", "encoding_format": "float", "dimensions": 3, "user": "eve", "model": "" }),
        json!({ "input": ["hello"], "dimensions": 3.0, "astra": { "alone": null, "rung": null } }),
    ] {
        let said = bed.post(PATH, &body);
        assert_eq!(said.status, 200, "{said:?}");
        assert_eq!(said.json()["data"], plain, "{body}");
    }
}

/// OpenAI's limit, which clients that send lists rely on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_texts_as_openai_takes_are_embedded() {
    let bed = Bed::of(embedder()).await;
    // Every text has as many tokens as characters, and the first dimension counts them.
    let texts: Vec<String> = (0..2048).map(|index| "x".repeat(index % 200 + 1)).collect();
    let said = bed.post(
        PATH,
        &json!({ "input": texts, "encoding_format": "base64" }),
    );
    assert_eq!(said.status, 200, "{}", said.head);
    let answer = said.json();
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.len(), 2048);
    let mut sum = 0;
    for (index, (item, text)) in data.iter().zip(&texts).enumerate() {
        assert_eq!(item["index"], index);
        let bytes = STANDARD
            .decode(item["embedding"].as_str().unwrap())
            .unwrap();
        assert_eq!(bytes[..4], (text.len() as f32).to_le_bytes());
        sum += text.len();
    }
    assert_eq!(answer["usage"]["total_tokens"], sum);
    assert_eq!(answer["astra"]["texts"], 2048);
    assert_eq!(bed.api.admission.free(), MAX_REQUESTS);
    let lists: Vec<[u32; 2]> = vec![[5, 6]; 2048];
    assert_eq!(bed.post(PATH, &json!({ "input": lists })).status, 200);
}

/// Counts what is computed; every text but the first waits for its client to go.
#[derive(Default)]
struct Counting {
    begun: AtomicUsize,
    waits: bool,
}

impl TokenModel for Counting {
    fn generate(
        &self,
        _: RequestContext,
        _: GenerationRequest,
        _: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<GenerationResponse, RequestError>> {
        Box::pin(async { Err(RequestError::Nothing) })
    }

    fn embed(
        &self,
        context: RequestContext,
        _: Vec<u32>,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        Box::pin(async move {
            if self.begun.fetch_add(1, Ordering::SeqCst) > 0 && self.waits {
                context.client.gone().await;
                return Err(RequestError::Gone);
            }
            Ok(Embedded {
                report: Report::default(),
                embedding: vec![0.5; 3],
            })
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_refused_is_named_before_any_is_computed() {
    let model = Arc::new(Counting::default());
    let bed = Bed::of(embedder_by(Arc::clone(&model) as _)).await;
    let long = "x".repeat(257);
    for (input, code, part) in [
        (
            json!(["a", "b", ""]),
            "empty_prompt",
            "input[2]: found no text, expected at least one token",
        ),
        (
            json!(["a", long, ""]),
            "context_length_exceeded",
            "input[1]: found 257 tokens, expected at most 256",
        ),
        (
            json!([[5], [9999]]),
            "invalid_value",
            "input[1]: token id: found 9999, expected less than 262",
        ),
        (json!([[5], []]), "empty_prompt", "input[1]: "),
    ] {
        let said = bed.post(PATH, &json!({ "input": input }));
        refused(&said, 400, code, Some("input"), part);
    }
    assert_eq!(model.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_ends_the_work() {
    let model = Arc::new(Counting {
        waits: true,
        ..Counting::default()
    });
    let bed = Bed::of(embedder_by(Arc::clone(&model) as _)).await;
    let mut stream = bed.connect();
    let body = json!({ "input": vec!["a"; 2048] }).to_string();
    let kind = "Content-Type: application/json\r\n";
    write(&mut stream, &format!("POST {PATH}"), kind, body.as_bytes());
    super::hang_up::until(|| model.begun.load(Ordering::SeqCst) == 2).await;
    drop(stream);
    super::hang_up::until(|| bed.api.admission.free() == MAX_REQUESTS).await;
    assert_eq!(model.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inputs_that_are_not_possible() {
    let bed = Bed::of(embedder()).await;
    let many: Vec<&str> = vec!["a"; 2049];
    for (body, code, part) in [
        (
            json!({ "input": "" }),
            "empty_prompt",
            "input: found no text, expected at least one token",
        ),
        (
            json!({ "input": [] }),
            "invalid_value",
            "input: found 0 texts, expected 1 to 2048",
        ),
        (
            json!({ "input": many }),
            "invalid_value",
            "input: found 2049 texts, expected 1 to 2048",
        ),
        (
            json!({ "input": "x".repeat(257) }),
            "context_length_exceeded",
            "at most 256",
        ),
        (
            json!({ "input": 1.5 }),
            "invalid_value",
            "expected a string",
        ),
        (json!({}), "invalid_value", "input: missing"),
    ] {
        refused(&bed.post(PATH, &body), 400, code, Some("input"), part);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_that_are_not_possible() {
    let bed = Bed::of(embedder()).await;
    for (body, code, param, part) in [
        (
            json!({ "input": "a", "encoding_format": "hex" }),
            "invalid_value",
            "encoding_format",
            "hex",
        ),
        (
            json!({ "input": "a", "dimensions": 2 }),
            "unsupported_parameter",
            "dimensions",
            "expected 3",
        ),
        (
            json!({ "input": "a", "input_type": "query" }),
            "unknown_parameter",
            "input_type",
            "input_type",
        ),
        (
            json!({ "input": "a", "astra": { "top_k": 2 } }),
            "unsupported_parameter",
            "astra.top_k",
            "sampled",
        ),
    ] {
        refused(&bed.post(PATH, &body), 400, code, Some(param), part);
    }
}
