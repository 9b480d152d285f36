//! Clients that take their time.

use std::io::ErrorKind;

use super::hang_up::endless;
use super::*;
use crate::text::fake::{Fake, writer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_nothing_is_asked_is_closed() {
    let bed = Bed::impatient(writer(Fake::saying("x")), Duration::from_millis(50)).await;
    for begun in [
        "",
        "POST /v1/comp",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
    ] {
        let mut stream = bed.connect();
        stream.write_all(begun.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "", "behind {begun:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_for_another_request_for_a_while() {
    let bed = Bed::impatient(writer(Fake::saying("x")), Duration::from_secs(1)).await;
    let mut stream = bed.connect();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut said = String::new();
    stream.write_all(request).unwrap();
    stream.write_all(request).unwrap();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("HTTP/1.1 200").count(), 2, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_given_up() {
    let bed = Bed::impatient(writer(Fake::saying("x")), Duration::from_secs(1)).await;
    let mut stream = bed.connect();
    let head = "POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let said = Said::read(&said);
    assert_eq!(said.status, 408, "{said:?}");
    let message = said.json()["error"]["message"].to_string();
    assert!(message.contains("within 1s"), "{message}");
    assert_eq!(bed.api.admission.free(), MAX_REQUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_may_take_longer_than_a_question() {
    let patience = Duration::from_secs(1);
    let bed = Bed::impatient(writer(endless()), patience).await;
    let mut stream = bed.connect();
    let json = "Content-Type: application/json\r\n";
    write(
        &mut stream,
        "POST /v1/completions",
        json,
        br#"{"prompt": "hello"}"#,
    );
    stream.set_read_timeout(Some(patience * 2)).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_answer_is_given_up() {
    let bed = Bed::impatient(writer(endless()), Duration::from_millis(200)).await;
    let mut stalled = bed.connect();
    let json = "Content-Type: application/json\r\n";
    let body = br#"{"prompt": "hello", "stream": true}"#;
    write(&mut stalled, "POST /v1/completions", json, body);
    super::hang_up::until(|| bed.api.admission.free() < MAX_REQUESTS).await;
    super::hang_up::until(|| bed.api.admission.free() == MAX_REQUESTS).await;
    drop(stalled);
}
