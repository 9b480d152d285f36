//! Clients that disconnect before they have their answer, and more requests than the limit.

use std::net::TcpStream;
use std::time::Duration;

use astra_edge::client::{Client, ClientError, RemoteTextStream};
use astra_edge::config::Network;
use astra_edge::text::TextEvent;
use astra_wire::{Control, GenerationRequest, Hello, Prompt, RequestOptions, SamplingParams};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};

use crate::device::{Cluster, language_dir};
use crate::generation::{complete, ids, members, stream, text};
use crate::web::{begin, post};

/// Requests in progress or waiting, over HTTP and of the cluster together.
const PLACES: usize = 16;
/// Far beyond what anything takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Sends a request whose response is not read.
fn send_unread(cluster: &Cluster, prompt: &[u64], astra: &Value) -> TcpStream {
    let body = json!({ "prompt": prompt, "max_tokens": 8, "temperature": 0, "astra": astra });
    let json = "Content-Type: application/json\r\n";
    let body = body.to_string();
    begin(
        cluster.http(),
        "POST /v1/completions",
        json,
        body.as_bytes(),
    )
}

#[test]
fn a_client_that_disconnects_frees_its_place() {
    let cluster = Cluster::with_bundle(&language_dir(), &["a"]);
    let patient = json!({ "deadline": "15m" });
    let running = stream(&cluster, &ids(20, 1), 8000, &patient);
    let waiting = (1..PLACES).map(|_| send_unread(&cluster, &ids(20, 2), &patient));
    let waiting: Vec<TcpStream> = waiting.collect();
    cluster.until("all places are taken", || status(&cluster) == 503);
    drop(waiting);
    cluster.until("abandoned requests free their places", || {
        status(&cluster) == 400
    });
    drop(running);
}

/// A long text, in Zenoh's messages.
fn long_text() -> Control<'static> {
    Control::GenerationRequest(GenerationRequest {
        options: RequestOptions {
            deadline_ms: 900_000,
            ..RequestOptions::default()
        },
        prompt: Prompt::Text("Once upon a time"),
        sampling: SamplingParams {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
            seed: 1,
        },
        max_tokens: Some(4000),
        stop: Default::default(),
    })
}

/// A client of the cluster and its first device.
async fn client_of(cluster: &Cluster) -> (Client, Hello) {
    let network = Network {
        cluster: cluster.name.clone(),
        connect: vec![cluster.devices[0].address.clone()],
        multicast: false,
        ..Network::default()
    };
    let mut client = Client::open(&network).await.unwrap();
    let device = client.find(None, LIMIT).await.unwrap();
    (client, device)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// The status of an invalid request: 400 where there is a place for it, 503 otherwise.
fn status(cluster: &Cluster) -> u16 {
    let body = json!({ "prompt": "x", "max_tokens": 0 });
    post(cluster.http(), "/v1/completions", &body).status
}

#[test]
fn requests_beyond_the_limit_are_refused() {
    let cluster = Cluster::with_bundle(&language_dir(), &["a"]);
    let refusal = runtime().block_on(async {
        let (client, device) = client_of(&cluster).await;
        let mut answers = FuturesUnordered::new();
        for _ in 0..=PLACES {
            let stream = client.request_text(&device, &long_text(), &[], LIMIT).await;
            answers.push(next(stream.unwrap()));
        }
        let refusal = loop {
            match answers.next().await.unwrap() {
                (stream, Ok(TextEvent::Delta(_))) => answers.push(next(stream)),
                (_, Ok(TextEvent::Finished(ended))) => panic!("{ended:?} before a refusal"),
                (_, Err(refusal)) => break refusal,
            }
        };
        client.close().await;
        refusal
    });
    let message = refusal.to_string();
    assert!(
        message.contains("requests: found 16 in progress"),
        "{message}"
    );
}

#[test]
fn requests_over_http_and_of_the_cluster_share_one_limit() {
    const OVER_HTTP: usize = 10;
    let cluster = Cluster::with_bundle(&language_dir(), &["a"]);
    let patient = json!({ "deadline": "15m" });
    let running = stream(&cluster, &ids(20, 1), 8000, &patient);
    let waiting = (1..OVER_HTTP).map(|_| send_unread(&cluster, &ids(20, 2), &patient));
    let waiting: Vec<TcpStream> = waiting.collect();
    assert_eq!(status(&cluster), 400, "there are places left");
    let runtime = runtime();
    let (client, device) = runtime.block_on(client_of(&cluster));
    let request = long_text();
    let send = || {
        let stream = client.request_text(&device, &request, &[], LIMIT);
        runtime.block_on(stream).unwrap()
    };
    let held: Vec<RemoteTextStream> = (OVER_HTTP..PLACES).map(|_| send()).collect();
    cluster.until("all places are taken", || status(&cluster) == 503);
    let refusal = runtime.block_on(next(send())).1.unwrap_err().to_string();
    assert!(
        refusal.contains("requests: found 16 in progress"),
        "{refusal}"
    );
    drop((running, waiting));
    cluster.until("places are free again", || status(&cluster) == 400);
    drop(held);
    runtime.block_on(client.close());
}

async fn next(mut stream: RemoteTextStream) -> (RemoteTextStream, Result<TextEvent, ClientError>) {
    let event = stream.next().await;
    (stream, event)
}

#[test]
fn a_client_that_disconnects_before_the_first_token_costs_the_others_nothing() {
    let cluster = Cluster::with_bundle(&language_dir(), &["a", "b", "c"]);
    // Seconds of work, of which the client waits for none.
    let prompt = ids(3000, 3);
    let three = json!({ "ranges": [998, 999, 999], "rung": 320, "deadline": "100s" });
    let log = |part: &str| cluster.devices[0].log().matches(part).count();
    let client = send_unread(&cluster, &prompt, &three);
    cluster.until("the request begins", || log("request begins") == 1);
    drop(client);
    // The next request finds the members and the plan unchanged.
    let whole = complete(&cluster, &json!(prompt), 4, &three);
    assert_eq!(members(&whole).len(), 3, "{whole}");
    assert_eq!(log("plan set up"), 1, "{}", cluster.logs());
    assert!(!text(&whole).is_empty(), "{whole}");
}
