//! Clients that go away, and more of them than are taken.

use std::sync::atomic::Ordering;

use astra_bundle::Task;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::image::{ImageReply, ImageRequest};
use crate::cluster::request::response::GenerationResponse;
use crate::generation::GenerationRequest;
use crate::text::TokenModel;
use crate::text::fake::{self, Fake, embedder_by, writer};

const STREAM: &str = r#"{"prompt": "hello", "stream": true}"#;
const WHOLE: &str = r#"{"prompt": "hello"}"#;
const JSON: &str = "Content-Type: application/json\r\n";

pub(super) fn endless() -> Arc<Fake> {
    Arc::new(Fake {
        says: "on and on ".to_owned(),
        endless: true,
        ..Fake::default()
    })
}

/// Starts a request and waits for the first of the answer where it streams.
fn begin(bed: &Bed, body: &str) -> TcpStream {
    let mut stream = bed.connect();
    write(&mut stream, "POST /v1/completions", JSON, body.as_bytes());
    if body == STREAM {
        let mut some = [0; 64];
        let read = stream.read(&mut some).unwrap();
        assert!(some[..read].starts_with(b"HTTP/1.0 200"), "{some:?}");
    }
    stream
}

pub(super) async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_ends_its_generation() {
    for body in [STREAM, WHOLE] {
        let model = endless();
        let bed = Bed::of(writer(Arc::clone(&model))).await;
        let stream = begin(&bed, body);
        until(|| model.asked.lock().unwrap().is_some()).await;
        assert_eq!(bed.api.admission.free(), MAX_REQUESTS - 1);
        drop(stream);
        until(|| model.ended.load(Ordering::SeqCst) == 1).await;
        assert_eq!(model.cancelled.load(Ordering::SeqCst), 1);
        // Its place is free again, and the next request is answered.
        until(|| bed.api.admission.free() == MAX_REQUESTS).await;
        assert_eq!(bed.get("/healthz").status, 200);
        let next = begin(&bed, STREAM);
        drop(next);
        until(|| model.ended.load(Ordering::SeqCst) == 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_places_are_sent_away() {
    let bed = Bed::of(writer(endless())).await;
    let busy: Vec<TcpStream> = (0..MAX_REQUESTS).map(|_| begin(&bed, STREAM)).collect();
    let said = bed.post("/v1/completions", &json!({ "prompt": "hello" }));
    assert_eq!(said.status, 503, "{said:?}");
    assert_eq!(said.json()["error"]["code"], "overloaded");
    assert!(said.head.contains("retry-after: 1"), "{said:?}");
    assert_eq!(bed.get("/v1/models").status, 200);
    drop(busy);
    until(|| bed.api.admission.free() == MAX_REQUESTS).await;
}

/// Works on a question to its end although nobody waits for it any more, as members that are at it do.
struct Stubborn {
    begun: Semaphore,
    left: Semaphore,
    end: Semaphore,
}

impl Stubborn {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Semaphore::new(0),
            left: Semaphore::new(0),
            end: Semaphore::new(0),
        })
    }

    async fn work<T>(&self, gone: impl Future<Output = ()>) -> Result<T, RequestError> {
        self.begun.add_permits(1);
        gone.await;
        self.left.add_permits(1);
        self.end.acquire().await.unwrap().forget();
        Err(RequestError::Nothing)
    }
}

impl TokenModel for Stubborn {
    fn generate(
        &self,
        _: RequestContext,
        _: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<GenerationResponse, RequestError>> {
        Box::pin(async move { self.work(tokens.closed()).await })
    }

    fn embed(
        &self,
        context: RequestContext,
        _: Vec<u32>,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        Box::pin(async move { self.work(context.client.gone()).await })
    }
}

impl Pictures for Stubborn {
    fn answer(&self, question: ImageRequest) -> BoxFuture<'_, Result<ImageReply, RequestError>> {
        Box::pin(async move { self.work(question.context.client.gone()).await })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_taken_up_until_nothing_works_on_the_question_any_more() {
    let model = Stubborn::new();
    let writer = TextService::new(Arc::clone(&model) as _, fake::text(Task::Generation));
    let embedder = embedder_by(Arc::clone(&model) as _);
    let seeing = Bed::seeing(Arc::clone(&model) as _).await;
    for (bed, route, field) in [
        (Bed::of(writer).await, "completions", "prompt"),
        (Bed::of(embedder).await, "embeddings", "input"),
        (seeing, "saliency", "image"),
    ] {
        let mut stream = bed.connect();
        let head = format!("POST /v1/{route}");
        let body = json!({ field: "aGVsbG8=" }).to_string();
        write(&mut stream, &head, JSON, body.as_bytes());
        model.begun.acquire().await.unwrap().forget();
        drop(stream);
        model.left.acquire().await.unwrap().forget();
        assert_eq!(bed.api.admission.free(), MAX_REQUESTS - 1, "{route}");
        model.end.add_permits(1);
        until(|| bed.api.admission.free() == MAX_REQUESTS).await;
    }
}
