//! Clients that go away, and more of them than are taken.

use std::sync::atomic::Ordering;

use super::*;
use crate::cluster::words::fake::{Fake, writer};

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

async fn until(what: impl Fn() -> bool) {
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
        assert_eq!(bed.api.free(), Api::places() - 1);
        drop(stream);
        until(|| model.ended.load(Ordering::SeqCst) == 1).await;
        assert_eq!(model.gone.load(Ordering::SeqCst), 1);
        // Its place is free again, and the next request is answered.
        until(|| bed.api.free() == Api::places()).await;
        assert_eq!(bed.get("/healthz").status, 200);
        let next = begin(&bed, STREAM);
        drop(next);
        until(|| model.ended.load(Ordering::SeqCst) == 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_places_are_sent_away() {
    let bed = Bed::of(writer(endless())).await;
    let busy: Vec<TcpStream> = (0..Api::places()).map(|_| begin(&bed, STREAM)).collect();
    let said = bed.post("/v1/completions", &json!({ "prompt": "hello" }));
    assert_eq!(said.status, 503, "{said:?}");
    assert_eq!(said.json()["error"]["code"], "overloaded");
    assert!(said.head.contains("retry-after: 1"), "{said:?}");
    assert_eq!(bed.get("/v1/models").status, 200);
    drop(busy);
    until(|| bed.api.free() == Api::places()).await;
}
