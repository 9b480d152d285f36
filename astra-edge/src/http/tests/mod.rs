//! A served address, and requests byte by byte.

mod bad;
mod embeddings;
mod good;
mod hang_up;
mod keep_alive;
mod neutral;
mod parameters;
mod slow;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use astra_bundle::{Manifest, Task};
use serde_json::{Value, json};

use super::*;
use crate::cluster::request::admission::MAX_REQUESTS;
use crate::text::TextService;

/// What a test gives up after: nothing here takes that long.
const LIMIT: Duration = Duration::from_secs(30);
pub(super) const MODEL: &str = "fake-1";

/// A server with a model of its own.
pub(super) struct Bed {
    pub(super) api: Arc<Api>,
    pub(super) server: Server,
}

impl Bed {
    pub(super) async fn of(words: TextService) -> Self {
        let mut api = empty();
        api.words = Some(Arc::new(words));
        Self::with(api).await
    }

    /// One that has neither text nor pictures.
    pub(super) async fn bare() -> Self {
        Self::with(empty()).await
    }

    /// One that waits no longer than this for what a client has to say.
    pub(super) async fn impatient(words: TextService, patience: Duration) -> Self {
        let mut api = empty();
        api.words = Some(Arc::new(words));
        api.patience = patience;
        Self::with(api).await
    }

    /// One whose streams send a comment where this long nothing else is sent.
    pub(super) async fn with_keep_alive(words: TextService, keep_alive: Duration) -> Self {
        let mut api = empty();
        api.words = Some(Arc::new(words));
        api.keep_alive = keep_alive;
        Self::with(api).await
    }

    /// One whose model sees.
    pub(super) async fn seeing(pictures: Arc<dyn Pictures>) -> Self {
        let mut api = empty();
        api.manifest.task = Task::Saliency;
        api.pictures = Some(pictures);
        Self::with(api).await
    }

    async fn with(api: Api) -> Self {
        let api = Arc::new(api);
        let listening = Listening::at(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let server = listening.unwrap().serve(Arc::clone(&api));
        Self { api, server }
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Sends a request to its end and reads the answer to its end.
    pub(super) fn send(&self, head: &str, headers: &str, body: &[u8]) -> Said {
        let mut stream = self.connect();
        write(&mut stream, head, headers, body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Said::read(&String::from_utf8(bytes).unwrap())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Said {
        self.post_bytes(path, body.to_string().as_bytes())
    }

    pub(super) fn post_bytes(&self, path: &str, body: &[u8]) -> Said {
        let json = "Content-Type: application/json\r\n";
        self.send(&format!("POST {path}"), json, body)
    }

    pub(super) fn get(&self, path: &str) -> Said {
        self.send(&format!("GET {path}"), "", b"")
    }
}

/// HTTP/1.0, which ends an answer with the connection instead of in chunks.
pub(super) fn write(stream: &mut TcpStream, head: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let request = format!("{head} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    // A server that refuses early may not read all of it.
    let _ = stream.write_all(body);
}

/// An answer.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Said {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The data of a stream's events.
    pub(super) fn events(&self) -> Vec<&str> {
        let events = self.body.split_terminator("\n\n");
        events
            .map(|event| event.strip_prefix("data: ").unwrap())
            .collect()
    }
}

fn empty() -> Api {
    let text = |text: &str| text.to_owned();
    Api::new(text("kitchen"), text("home"), text("abcd"), manifest())
}

fn manifest() -> Manifest {
    serde_json::from_value(json!({
        "format": 3, "model": MODEL, "family": "llama", "task": { "kind": "generation" },
        "source": { "file": "fake.gguf", "sha256": "0".repeat(64) },
        "seed": 0, "software": "test",
        "shape": { "hidden": 3, "heads": 1, "kv_heads": 1, "head_dim": 3, "blocks": 1, "tokens": 252,
                   "class_tokens": 4 },
        "bases": [], "exact": [], "rungs": [], "files": {},
        "calibration": { "source": "none", "inputs": 0, "tokens": 0, "held_out": 0 },
    }))
    .unwrap()
}
