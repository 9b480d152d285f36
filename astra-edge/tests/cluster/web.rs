//! Requests over HTTP, byte by byte: nothing in between hides what is wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Far beyond what anything takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

/// An answer.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl HttpResponse {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Asserts that it is a refusal, and returns the message.
    pub(crate) fn refused(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let error = self.json()["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        error["message"].as_str().unwrap().to_owned()
    }
}

/// Sends a request and leaves the answer to be read. HTTP/1.0 ends it with the connection instead of in chunks.
pub(crate) fn begin(address: &str, head: &str, headers: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let length = body.len();
    let request = format!("{head} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

/// Sends a request and reads all of the answer.
pub(crate) fn send(address: &str, head: &str, headers: &str, body: &[u8]) -> HttpResponse {
    let mut stream = begin(address, head, headers, body);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let body = bytes.split_off(end.unwrap_or_else(|| panic!("no head in {bytes:?}")) + 4);
    let head = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    HttpResponse { status, head, body }
}

pub(crate) fn get(address: &str, path: &str) -> HttpResponse {
    send(address, &format!("GET {path}"), "", b"")
}

pub(crate) fn post(address: &str, path: &str, body: &Value) -> HttpResponse {
    let json = "Content-Type: application/json\r\n";
    send(
        address,
        &format!("POST {path}"),
        json,
        body.to_string().as_bytes(),
    )
}
