//! Comments in streams on which nothing else is sent.

use std::sync::atomic::{AtomicBool, Ordering};

use astra_bundle::Task;
use astra_model::tasks::text::fixture;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::hang_up::until;
use super::*;
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::response::GenerationResponse;
use crate::generation::GenerationRequest;
use crate::text::{TokenModel, fake};

/// Generates one token, and then none until its client has disconnected.
#[derive(Default)]
struct Stalled {
    ended: AtomicBool,
}

impl TokenModel for Stalled {
    fn generate(
        &self,
        _: RequestContext,
        _: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<GenerationResponse, RequestError>> {
        Box::pin(async move {
            tokens.send(fixture::byte(b'x')).await.unwrap();
            tokens.closed().await;
            self.ended.store(true, Ordering::SeqCst);
            Err(RequestError::Gone)
        })
    }

    fn embed(
        &self,
        _: RequestContext,
        _: Vec<u32>,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        Box::pin(async { Err(RequestError::Nothing) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_text_has_comments_until_its_client_hangs_up() {
    let model = Arc::new(Stalled::default());
    let writer = TextService::new(Arc::clone(&model) as _, fake::text(Task::Generation));
    let bed = Bed::with_keep_alive(writer, Duration::from_millis(5)).await;
    let mut stream = bed.connect();
    let body = json!({ "prompt": "hello", "stream": true }).to_string();
    let json = "Content-Type: application/json\r\n";
    write(&mut stream, "POST /v1/completions", json, body.as_bytes());
    let mut said = Vec::new();
    while !said.ends_with(b"\n\n:\n\n:\n\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    let said = Said::read(&String::from_utf8(said).unwrap());
    let events = said.body.split_terminator("\n\n");
    let texts: Vec<&str> = events.filter(|event| *event != ":").collect();
    assert_eq!(texts.len(), 1, "{said:?}");
    assert!(texts[0].starts_with("data: {"), "{said:?}");
    drop(stream);
    until(|| model.ended.load(Ordering::SeqCst)).await;
    until(|| bed.api.admission.free() == MAX_REQUESTS).await;
}
