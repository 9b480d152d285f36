//! Texts through clusters: over HTTP and from the command line.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::device::{
    Cluster, CommandOutput, astra_edge, bundle_dir, finish, language_dir, run, sentences_dir,
};
use crate::web::{begin, post, send};

const JSON: &str = "Content-Type: application/json\r\n";
const COMPLETIONS: &str = "/v1/completions";

/// A client command in exact mode, with time to spare on a loaded machine.
fn client(cluster: &Cluster, command: &str, flags: &[&str]) -> Command {
    let mut command = cluster.client(command);
    command
        .args(["--rung", "exact", "--deadline", "60s"])
        .args(flags);
    command
}

fn json_of(output: &CommandOutput) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

fn exact(body: &Value) -> Value {
    let mut body = body.clone();
    body["astra"] = json!({ "rung": "exact", "deadline": "60s" });
    body["temperature"] = json!(0);
    body
}

#[test]
fn requests_over_http_and_from_the_command_line() {
    let cluster = Cluster::with_bundle(&language_dir(), &["a", "b"]);
    let alone = alone(&[]);
    let answer = json_of(&run(&mut client(
        &cluster,
        "ask",
        &["What is the capital of France?"],
    )));
    assert_eq!(answer["text"], alone["text"]);
    assert!(
        answer["text"].as_str().unwrap().contains("Paris"),
        "{answer}"
    );
    assert_eq!(answer["finish"], "stop");

    // Divided as requested, with the same text.
    let tokens = answer["prompt_tokens"].as_u64().unwrap() - 4;
    let ranges = format!("{},{}", tokens / 2, tokens - tokens / 2);
    let flags = ["What is the capital of France?", "--ranges", &ranges];
    let divided = json_of(&run(&mut client(&cluster, "ask", &flags)));
    assert_eq!(divided["report"]["members"].as_array().unwrap().len(), 2);
    assert_eq!(divided["text"], alone["text"]);

    from_standard_input(&cluster);
    bad_input(&cluster);
    hang_ups(&cluster);
    let output = run(&mut client(&cluster, "embed", &["a text"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("does not embed"), "{output:?}");
}

/// The same request on this machine.
fn alone(flags: &[&str]) -> Value {
    let mut command = astra_edge();
    command
        .args(["ask", "--alone", "--json", "--threads", "1", "--bundle"])
        .arg(language_dir())
        .arg("What is the capital of France?");
    json_of(&run(command.args(flags)))
}

fn from_standard_input(cluster: &Cluster) {
    // Without --json, the text alone goes to standard output.
    let mut command = astra_edge();
    command
        .args([
            "ask",
            "-",
            "--raw",
            "--max-tokens",
            "5",
            "--cluster",
            &cluster.name,
        ])
        .args(["--rung", "exact", "--deadline", "60s", "--no-multicast"])
        .args(["--connect", &cluster.devices[0].address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"The capital of France is").unwrap();
    drop(stdin);
    let output = finish(child);
    assert!(output.stdout.starts_with(" Paris"), "{output:?}");
    assert!(output.stderr.contains("compute ms"), "{output:?}");
}

/// Each is refused with a status and a code, and the next request is answered.
fn bad_input(cluster: &Cluster) {
    let http = cluster.http();
    let raw = |body: &[u8]| send(http, &format!("POST {COMPLETIONS}"), JSON, body);
    raw(b"{\"prompt\": ").refused(400, "malformed_json");
    let message = raw(b"{\"prompt\": \"\xc3\x28\"}").refused(400, "malformed_json");
    assert!(message.contains("expected UTF-8"), "{message}");
    for (path, body, status, code) in [
        (COMPLETIONS, json!({ "prompt": "" }), 400, "empty_prompt"),
        (
            COMPLETIONS,
            json!({ "prompt": "a", "model": "gpt-9" }),
            404,
            "model_not_found",
        ),
        (
            COMPLETIONS,
            json!({ "prompt": "a", "n": 2 }),
            400,
            "unsupported_parameter",
        ),
        (
            COMPLETIONS,
            json!({ "prompt": "a", "astra": { "rung": 7 } }),
            400,
            "invalid_value",
        ),
        (
            "/v1/embeddings",
            json!({ "input": "a" }),
            400,
            "unsupported_task",
        ),
        (
            "/v1/saliency",
            json!({ "image": "aGk=" }),
            400,
            "unsupported_task",
        ),
    ] {
        post(http, path, &body).refused(status, code);
    }
    let long = json!({ "prompt": "word ".repeat(9000) });
    let message = post(http, COMPLETIONS, &long).refused(400, "context_length_exceeded");
    // What was found and what is expected.
    assert!(
        message.contains("9000 tokens") || message.contains("9001 tokens"),
        "{message}"
    );
    assert!(message.contains("at most"), "{message}");
    let response = post(
        http,
        COMPLETIONS,
        &exact(&json!({ "prompt": "The capital of France is", "max_tokens": 2 })),
    );
    assert_eq!(response.status, 200, "{response:?}; {}", cluster.logs());
    assert_eq!(response.json()["choices"][0]["text"], " Paris.");
}

/// A device is free at once when a client disconnects in the middle of a long text.
fn hang_ups(cluster: &Cluster) {
    let http = cluster.http();
    let story = exact(&json!({ "prompt": "Once upon a time", "max_tokens": 1500, "stream": true }));
    let head = format!("POST {COMPLETIONS}");
    // More than there are places, one after the other.
    for _ in 0..20 {
        let mut stream = begin(http, &head, JSON, story.to_string().as_bytes());
        let mut some = [0; 200];
        let read = stream.read(&mut some).unwrap();
        assert!(
            some[..read].starts_with(b"HTTP/1.0 200"),
            "{}",
            String::from_utf8_lossy(&some)
        );
    }
    let next = exact(&json!({ "prompt": "The capital of France is", "max_tokens": 2 }));
    let response = post(http, COMPLETIONS, &next);
    assert_eq!(response.status, 200, "{response:?}; {}", cluster.logs());
    assert_eq!(response.json()["choices"][0]["text"], " Paris.");
    let requests = || cluster.devices[0].log().matches("request in text").count();
    let before = requests();
    let flags = [
        "Tell me a very long story.",
        "--max-tokens",
        "1500",
        "--device",
        "a",
    ];
    let mut command = client(cluster, "ask", &flags);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    cluster.until("the request arrives", || requests() > before);
    child.kill().unwrap();
    child.wait().unwrap();
    cluster.until("the device notices", || {
        cluster.devices[0]
            .log()
            .contains("a client has disconnected")
    });
    let response = post(http, COMPLETIONS, &next);
    assert_eq!(response.status, 200, "{response:?}; {}", cluster.logs());
}

#[test]
fn vectors_from_the_command_line() {
    let cluster = Cluster::with_bundle(&sentences_dir(), &["a", "b"]);
    let texts = ["A cat sat on the mat.", "Interest rates rose again."];
    let got = json_of(&run(&mut client(&cluster, "embed", &texts)));
    let mut command = astra_edge();
    command
        .args(["embed", "--alone", "--bundle"])
        .arg(sentences_dir());
    let output = run(command.args(texts));
    assert!(output.status.success(), "{output:?}");
    for (line, embedding) in output
        .stdout
        .lines()
        .zip(got["embeddings"].as_array().unwrap())
    {
        let alone: Vec<f64> = line
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        let together = embedding["embedding"].as_array().unwrap();
        assert_eq!((alone.len(), together.len()), (384, 384));
        for (a, b) in alone.iter().zip(together) {
            assert!((a - b.as_f64().unwrap()).abs() < 1e-3);
        }
    }
    let output = run(&mut client(&cluster, "ask", &["hi"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("does not generate"), "{output:?}");
}

#[test]
fn invalid_requests_fail_before_a_device_is_searched() {
    for (flags, part) in [
        (
            vec!["ask", "hi", "--temperature=-1"],
            "temperature: found -1",
        ),
        (vec!["ask", "hi", "--top-p", "2"], "top_p: found 2"),
        (vec!["ask", "hi", "--stop", ""], "empty"),
        (
            vec!["ask", "", "--no-multicast"],
            "prompt: found nothing, expected text",
        ),
        (vec!["embed", "a", ""], "text 2: found no character"),
        (vec!["embed", "--file", "/no/such/file"], "/no/such/file"),
    ] {
        let output = run(astra_edge().args(&flags));
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {output:?}");
        assert!(output.stderr.contains(part), "{flags:?}: {output:?}");
    }
    let output = run(astra_edge()
        .args(["ask", "hi", "--alone", "--bundle"])
        .arg(bundle_dir()));
    let wrong_kind = "found one that takes pictures, expected one that takes text";
    assert!(output.stderr.contains(wrong_kind), "{output:?}");
}
