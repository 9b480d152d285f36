//! Texts over several devices against one device, and devices that die in the middle of one.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Value, json};

use crate::device::{Cluster, language_dir, sentences_dir};
use crate::web::{begin, post};

/// What exact mode may differ by: float32 rounding, in other orders.
const EXACT: f64 = 1e-3;
/// Blocks of the language model.
const BLOCKS: u64 = 30;
/// Tokens that every member computes.
const SINKS: u64 = 4;

const PROMPTS: [&str; 3] = [
    "The lighthouse keeper had not spoken to anyone for eleven days when, on the twelfth, a boat came",
    "To make bread at home you need flour, water, salt and yeast. First,",
    "Question: Why is the sky blue in the day and red at sunset? Answer: Sunlight is made of all colours, and",
];

/// Token ids that make a text of some length, if not of sense.
pub(crate) fn ids(count: u64, seed: u64) -> Vec<u64> {
    (0..count)
        .map(|i| 1000 + (i * 7919 + seed * 104_729) % 40_000)
        .collect()
}

/// Requests a completion of a prompt from the first device, with the options `astra`.
pub(crate) fn complete(cluster: &Cluster, prompt: &Value, max_tokens: u64, astra: &Value) -> Value {
    let mut astra = astra.clone();
    astra["deadline"] = json!("100s");
    let body = json!({
        "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "astra": astra,
    });
    let response = post(cluster.http(), "/v1/completions", &body);
    assert_eq!(response.status, 200, "{response:?}; {}", cluster.logs());
    response.json()
}

pub(crate) fn text(answer: &Value) -> &str {
    answer["choices"][0]["text"].as_str().unwrap()
}

pub(crate) fn members(answer: &Value) -> &Vec<Value> {
    answer["astra"]["members"].as_array().unwrap()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no whole number"))
}

/// Divides a prompt evenly among `members`.
fn even(divided: u64, members: u64) -> Vec<u64> {
    let end = |member| divided * member / members;
    (0..members)
        .map(|member| end(member + 1) - end(member))
        .collect()
}

#[test]
fn greedy_texts_over_several_devices_are_those_of_one() {
    let cluster = Cluster::with_bundle(&language_dir(), &["a", "b", "c", "d"]);
    let alone = json!({ "alone": true });
    for prompt in PROMPTS {
        let one = complete(&cluster, &json!(prompt), 64, &alone);
        let usage = &one["usage"];
        assert_eq!(usage["completion_tokens"], 64, "{one}");
        let divided = number(&usage["prompt_tokens"]) - SINKS;
        for count in 2..=4 {
            let ranges = even(divided, count);
            let exact = json!({ "rung": "exact", "ranges": ranges });
            let several = complete(&cluster, &json!(prompt), 64, &exact);
            assert_eq!(text(&several), text(&one), "{count} members");
            assert_eq!(several["astra"]["agreement"]["class"], "exact");
            check_traffic(&several, &ranges);
        }
    }
    long_prompt(&cluster);
    follow_up(&cluster);
    refused(&cluster);
}

/// Codes are sent to later members only: the first waits for none, the last sends none.
fn check_traffic(answer: &Value, ranges: &[u64]) {
    let members = members(answer);
    let tokens: Vec<u64> = members.iter().map(|one| number(&one["tokens"])).collect();
    assert_eq!(tokens, ranges);
    let of = |name: &str| -> Vec<u64> { members.iter().map(|one| number(&one[name])).collect() };
    let (sent, received) = (of("bytes_sent"), of("bytes_received"));
    assert_eq!(received[0], 0, "{answer}");
    assert_eq!(sent[sent.len() - 1], 0, "{answer}");
    assert_eq!(
        sent.iter().sum::<u64>(),
        received.iter().sum::<u64>(),
        "{answer}"
    );
    for (place, (codes, tokens)) in of("code_bytes_sent").iter().zip(ranges).enumerate() {
        let receivers = (members.len() - 1 - place) as u64;
        assert_eq!(*codes, tokens * 576 * 4 * BLOCKS * receivers, "{answer}");
    }
    assert!(
        of("masked_tokens").iter().all(|masked| *masked == 0),
        "{answer}"
    );
    assert!(
        members.iter().all(|one| one["failure"].is_null()),
        "{answer}"
    );
}

/// 512 tokens over three devices, as they divide them themselves, and reported by member.
fn long_prompt(cluster: &Cluster) {
    let prompt = json!(ids(512, 1));
    let answer = complete(
        cluster,
        &prompt,
        1,
        &json!({ "rung": "exact", "max_members": 3 }),
    );
    let members = members(&answer);
    assert_eq!(members.len(), 3, "{answer}");
    let tokens = members
        .iter()
        .map(|one| number(&one["tokens"]))
        .sum::<u64>();
    assert_eq!(tokens, 512 - SINKS);
    for (place, member) in members.iter().enumerate() {
        assert!(member["compute_ms"].as_f64().unwrap() > 0.0, "{answer}");
        let waits = member["wait_ms"].as_f64().unwrap() > 0.0;
        assert!(place > 0 || !waits, "the first never waits: {answer}");
    }
    assert!(answer["astra"]["timings"]["prefill_ms"].as_f64().unwrap() > 0.0);
    println!("512 tokens over 3 devices, exact: {}", answer["astra"]);
}

/// A follow-up prompt is computed by the device that has its KV cache, and only the tokens that are not in it.
fn follow_up(cluster: &Cluster) {
    let exact = json!({ "rung": "exact", "max_members": 3 });
    let mut prompt = ids(300, 2);
    let first = complete(cluster, &json!(prompt), 8, &exact);
    assert_eq!(members(&first).len(), 3);
    prompt.extend(ids(20, 3));
    let second = complete(cluster, &json!(prompt), 8, &exact);
    assert_eq!(second["astra"]["reused_tokens"], 300, "{second}");
    assert_eq!(members(&second).len(), 1);
    let name = |answer: &Value, place: usize| members(answer)[place]["name"].clone();
    assert_eq!(name(&second, 0), name(&first, 2), "{second}");
    let alone = complete(cluster, &json!(prompt), 8, &json!({ "alone": true }));
    assert_eq!(text(&second), text(&alone));
}

fn refused(cluster: &Cluster) {
    let astra = json!({ "ranges": [3, 4], "rung": "exact" });
    for (prompt, part) in [
        (json!(ids(20, 4)), "found 7, expected 16"),
        (json!(ids(9000, 4)), "9000 tokens"),
    ] {
        let body = json!({ "prompt": prompt, "max_tokens": 4, "astra": astra });
        let response = post(cluster.http(), "/v1/completions", &body);
        assert_eq!(response.status, 400, "{response:?}");
        let message = response.json()["error"]["message"].to_string();
        assert!(message.contains(part), "{message}");
    }
    // A prompt that leaves nothing to divide is one device's.
    let short = complete(cluster, &json!([1, 2, 3]), 4, &json!({}));
    assert_eq!(members(&short).len(), 1);
    assert!(!short["astra"]["alone"].is_null(), "{short}");
}

/// A streamed completion, its first piece read: the generation is then under way.
pub(crate) fn stream(
    cluster: &Cluster,
    prompt: &[u64],
    max_tokens: u64,
    astra: &Value,
) -> BufReader<std::net::TcpStream> {
    let body = json!({
        "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "stream": true,
        "astra": astra,
    });
    let json = "Content-Type: application/json\r\n";
    let stream = begin(
        cluster.http(),
        "POST /v1/completions",
        json,
        body.to_string().as_bytes(),
    );
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        let read = reader.read_line(&mut line).unwrap();
        assert!(read > 0, "no first piece; {}", cluster.logs());
    }
    reader
}

#[test]
fn devices_that_die_cost_a_text_what_they_must() {
    let mut cluster = Cluster::with_bundle(&language_dir(), &["a", "b", "c"]);
    let prompt = ids(200, 5);
    let exact = json!({ "rung": "exact", "ranges": [60, 60, 76], "deadline": "100s" });
    let whole = complete(&cluster, &json!(prompt), 8, &exact);
    let names: Vec<&Value> = members(&whole).iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["a", "b", "c"]);

    // One that takes its part and computes nothing, and dies: the one that generates computes all of the prompt.
    let begun = |cluster: &Cluster| cluster.devices[0].log().matches("request begins").count();
    let before = begun(&cluster);
    cluster.device("b").signal("STOP");
    let answer = std::thread::scope(|scope| {
        let answer = scope.spawn(|| complete(&cluster, &json!(prompt), 8, &exact));
        cluster.until("the request begins", || begun(&cluster) > before);
        cluster.devices[1].signal("KILL");
        answer.join().unwrap()
    });
    assert_eq!(text(&answer), text(&whole));
    assert_eq!(answer["astra"]["agreement"]["class"], "partial", "{answer}");
    assert!(
        answer["astra"]["alone"]
            .as_str()
            .unwrap()
            .contains("c computed all"),
        "{answer}"
    );
    assert!(members(&answer)[1]["failure"].is_string(), "{answer}");
    cluster.device("b").wait();

    // The one that generates, between two tokens: the text ends with an error.
    let pair = json!({ "rung": "exact", "ranges": [98, 98], "deadline": "100s" });
    let mut reader = stream(&cluster, &prompt, 2000, &pair);
    cluster.device("c").signal("KILL");
    cluster.device("c").wait();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert!(
        rest.contains("c generated") && rest.contains("then failed"),
        "{rest}"
    );

    // The remaining device answers alone, with the same text.
    let alone = complete(&cluster, &json!(prompt), 8, &json!({}));
    assert_eq!(text(&alone), text(&whole));
    assert_eq!(members(&alone).len(), 1);
}

#[test]
fn generation_ends_when_the_client_disconnects() {
    let cluster = Cluster::with_bundle(&language_dir(), &["a", "b"]);
    let prompt = ids(60, 6);
    let pair = json!({ "rung": "exact", "ranges": [28, 28], "deadline": "100s" });
    let whole = complete(&cluster, &json!(prompt), 4, &pair);
    // 8,000 tokens would take minutes; the other device is free once the generation is cancelled.
    drop(stream(&cluster, &prompt, 8000, &pair));
    let again = complete(&cluster, &json!(prompt), 4, &pair);
    assert_eq!(text(&again), text(&whole));
    assert_eq!(members(&again).len(), 2);
}

/// The cache that a follow-up would reuse may hold a request of another coordinator since, at another rung.
#[test]
fn a_follow_up_is_as_exact_as_it_says() {
    let mut cluster = Cluster::new();
    let bundle = language_dir();
    for name in ["a", "b"] {
        let flags = [
            "--bundle",
            bundle.to_str().unwrap(),
            "--http",
            "127.0.0.1:0",
        ];
        cluster.start(name, &flags);
    }
    cluster.wait_for_usable(2);
    let mut prompt = ids(300, 7);
    let pair = |rung: Value| json!({ "rung": rung, "ranges": [148, 148] });
    let first = complete(&cluster, &json!(prompt), 4, &pair(json!("exact")));
    assert_eq!(members(&first)[1]["name"], "b", "{first}");

    let mut astra = pair(json!(320));
    astra["deadline"] = json!("100s");
    let body = json!({ "prompt": prompt, "max_tokens": 4, "temperature": 0, "astra": astra });
    let other = post(&cluster.devices[1].http, "/v1/completions", &body);
    assert_eq!(other.status, 200, "{other:?}");
    assert_eq!(other.json()["astra"]["agreement"]["class"], "coded");

    prompt.extend(ids(20, 8));
    let second = complete(&cluster, &json!(prompt), 4, &json!({ "rung": 320 }));
    assert_ne!(second["astra"]["reused_tokens"], 300, "{second}");
}

#[test]
fn vectors_over_several_devices_are_those_of_one() {
    let cluster = Cluster::with_bundle(&sentences_dir(), &["a", "b", "c", "d"]);
    let embed = |astra: Value| -> (Vec<f64>, Value) {
        let body = json!({ "input": PROMPTS[2], "astra": astra });
        let response = post(cluster.http(), "/v1/embeddings", &body);
        assert_eq!(response.status, 200, "{response:?}; {}", cluster.logs());
        let answer = response.json();
        let values = answer["data"][0]["embedding"].as_array().unwrap();
        let values = values.iter().map(|value| value.as_f64().unwrap()).collect();
        (values, answer)
    };
    let (one, answer) = embed(json!({ "alone": true }));
    let tokens = number(&answer["usage"]["prompt_tokens"]);
    let length = one.iter().map(|value| value * value).sum::<f64>().sqrt();
    assert!((length - 1.0).abs() < 1e-5, "{length}");
    for count in 2..=4 {
        let ranges = even(tokens, count);
        let (several, answer) =
            embed(json!({ "rung": "exact", "ranges": ranges, "deadline": "60s" }));
        let worst = one
            .iter()
            .zip(&several)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(worst < EXACT, "{count} members: {worst}");
        let data = &answer["data"][0]["astra"];
        let data = if data.is_null() {
            &answer["astra"]
        } else {
            data
        };
        let members = data["members"].as_array().unwrap();
        assert_eq!(members.len() as u64, count);
        for member in members {
            assert!(number(&member["bytes_sent"]) > 0, "{answer}");
        }
    }
}
