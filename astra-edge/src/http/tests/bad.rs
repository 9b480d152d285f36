//! Requests that are refused whatever they ask: how, where, or of which model.

use super::*;
use crate::text::fake::{FAIL, Fake, embedder, writer};

/// Status, code and parameter of a refusal, and a part of its message.
pub(super) fn refused(said: &Said, status: u16, code: &str, param: Option<&str>, part: &str) {
    assert_eq!(said.status, status, "{said:?}");
    assert!(
        said.head.contains("content-type: application/json"),
        "{said:?}"
    );
    let body = said.json();
    let error = body["error"].as_object().unwrap();
    assert_eq!(error.len(), 4, "{said:?}");
    assert_eq!(error["code"], code, "{said:?}");
    assert_eq!(error["param"], json!(param), "{said:?}");
    let kind = if status < 500 {
        "invalid_request_error"
    } else {
        "server_error"
    };
    assert_eq!(error["type"], kind, "{said:?}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(part), "{part:?} not in {said:?}");
}

pub(super) const COMPLETIONS: &str = "/v1/completions";
pub(super) const CHAT: &str = "/v1/chat/completions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_cannot_be_read() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    for (body, part) in [
        (b"".as_slice(), "EOF"),
        (b"{\"prompt\": ", "EOF"),
        (b"{\"prompt\": \"a\"} x", "trailing"),
        (b"prompt=a", "expected value"),
        (
            b"{\"prompt\": \"a\xff\"}",
            "found a byte at 13 that begins no character",
        ),
    ] {
        let said = bed.post_bytes(COMPLETIONS, body);
        refused(&said, 400, "malformed_json", None, part);
    }
    let said = bed.send(
        &format!("POST {COMPLETIONS}"),
        "Content-Type: text/plain\r\n",
        b"{}",
    );
    refused(&said, 415, "unsupported_media_type", None, "text/plain");
    let large = vec![b' '; (4 << 20) + 1];
    let said = bed.post_bytes(COMPLETIONS, &large);
    refused(&said, 413, "body_too_large", None, "larger");
    assert_eq!(bed.post(COMPLETIONS, &json!({ "prompt": "a" })).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_and_methods_that_are_not_there() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    refused(
        &bed.get(COMPLETIONS),
        405,
        "method_not_allowed",
        None,
        "GET",
    );
    let said = bed.send("DELETE /v1/models", "", b"");
    refused(&said, 405, "method_not_allowed", None, "DELETE");
    refused(&bed.get("/v1/files"), 404, "not_found", None, "/v1/files");
    let said = bed.get("/v1/models/gpt-9");
    refused(&said, 404, "model_not_found", Some("model"), "fake-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_other_bundles() {
    let embeds = Bed::of(embedder()).await;
    let said = embeds.post(COMPLETIONS, &json!({ "prompt": "a" }));
    refused(&said, 400, "unsupported_task", Some("model"), "generate");
    let writes = Bed::of(writer(Fake::saying("x"))).await;
    let said = writes.post("/v1/embeddings", &json!({ "input": "a" }));
    refused(&said, 400, "unsupported_task", Some("model"), "embed");
    let said = writes.send("POST /v1/saliency", "Content-Type: image/png\r\n", b"png");
    refused(&said, 400, "unsupported_task", Some("model"), "pictures");
    let bare = Bed::bare().await;
    for (path, body) in [
        (
            CHAT,
            json!({ "messages": [{ "role": "user", "content": "hi" }] }),
        ),
        (COMPLETIONS, json!({ "prompt": "a" })),
        ("/v1/embeddings", json!({ "input": "a" })),
    ] {
        refused(
            &bare.post(path, &body),
            400,
            "unsupported_task",
            Some("model"),
            "text",
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_fails_has_a_status_even_of_a_stream() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    for stream in [false, true] {
        let said = bed.post(COMPLETIONS, &json!({ "prompt": FAIL, "stream": stream }));
        refused(&said, 500, "internal_error", None, "the model broke");
    }
    assert_eq!(bed.api.admission.free(), MAX_REQUESTS);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let bed = Bed::bare().await;
    let address = bed.server.address();
    let error = Listening::at(address).await.unwrap_err().to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("--http"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_far_too_large_still_gets_its_refusal() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    // Far more than the buffers of a connection hold.
    let large = vec![b' '; 30 << 20];
    let said = bed.post_bytes(COMPLETIONS, &large);
    refused(&said, 413, "body_too_large", None, "at most 4194304 bytes");
    // Nor is a body read whose client waits for word before it sends it.
    let mut stream = bed.connect();
    let head = format!(
        "POST {COMPLETIONS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        large.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let said = Said::read(&String::from_utf8(bytes).unwrap());
    assert_eq!(said.status, 413, "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_names_of_others_are_refused() {
    let bed = Bed::bare().await;
    for (headers, status) in [
        ("Host: evil.example\r\n", 403),
        ("Host: 127.0.0.1:80\r\nOrigin: http://evil.example\r\n", 403),
        ("Host: localhost\r\nOrigin: null\r\n", 403),
        ("Host: localhost\r\nOrigin: http://localhost:3000\r\n", 200),
        ("", 200),
    ] {
        let said = bed.send("GET /v1/models", headers, b"");
        assert_eq!(said.status, status, "{headers}: {said:?}");
    }
}
