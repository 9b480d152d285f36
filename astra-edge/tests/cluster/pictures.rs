//! Pictures over HTTP.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::device::{Cluster, photo};
use crate::web::{get, post, send};

const PATH: &str = "POST /v1/saliency";
const PNG: &str = "Content-Type: image/png\r\n";

#[test]
fn a_picture_over_http_is_answered_by_the_cluster() {
    let mut cluster = Cluster::new();
    cluster.start("a", &["--http", "127.0.0.1:0"]);
    cluster.start("b", &[]);
    cluster.wait_for_usable(2);
    let http = cluster.devices[0].http.clone();
    let picture = std::fs::read(photo()).unwrap();

    let options = json!({ "rung": "exact", "ranges": [200, 56], "deadline": "60s" });
    let image = STANDARD.encode(&picture);
    let response = post(
        &http,
        "/v1/saliency",
        &json!({ "image": image, "astra": options }),
    );
    assert_eq!(response.status, 200, "{response:?}; {}", cluster.logs());
    let answer = response.json();
    let tokens: Vec<&Value> = answer["astra"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| &member["tokens"])
        .collect();
    assert_eq!(tokens, [200, 56]);
    assert_eq!(answer["astra"]["agreement"], json!({ "class": "exact" }));
    assert!(answer["astra"]["bytes"]["frames"].as_u64().unwrap() > 0);
    assert_eq!(
        (answer["height"].as_u64(), answer["width"].as_u64()),
        (Some(224), Some(224))
    );
    assert_eq!(answer["input"]["size"], 224);

    // The same on one device, as a data URL.
    let image = format!("data:image/png;base64,{image}");
    let alone = post(
        &http,
        "/v1/saliency",
        &json!({ "image": image, "astra": { "alone": true } }),
    )
    .json();
    assert_eq!(alone["astra"]["members"].as_array().unwrap().len(), 1);
    let map = |answer: &Value| -> Vec<f64> {
        let map = answer["map"].as_array().unwrap();
        map.iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let (together, alone) = (map(&answer), map(&alone));
    assert_eq!(together.len(), 224 * 224);
    let differ = together
        .iter()
        .zip(&alone)
        .any(|(a, b)| (a - b).abs() > 1e-3);
    assert!(!differ, "the maps differ");

    drawn(&http, &picture, &alone);
    refused(&http);
    assert_eq!(get(&http, "/healthz").json()["device"], "a");
}

/// The picture itself in, a picture out, in codes: on the whole as bright as the map of one device.
fn drawn(http: &str, picture: &[u8], alone: &[f64]) {
    let headers = format!("{PNG}Accept: image/png\r\n");
    let response = send(http, PATH, &headers, picture);
    assert!(
        response.head.contains("content-type: image/png"),
        "{}",
        response.head
    );
    let took = response
        .head
        .lines()
        .find_map(|line| line.strip_prefix("x-astra: "))
        .unwrap();
    let took: Value = serde_json::from_str(took).unwrap();
    assert_eq!(took["agreement"]["class"], "coded", "{took}");
    let measured = &took["agreement"]["measured"];
    assert!(
        measured["cls_cosine"].as_f64().unwrap() > 0.9 && measured["inputs"].as_u64().unwrap() > 3,
        "{took}"
    );
    let [low, mean, high] =
        ["low", "mean", "high"].map(|end| measured["quality"][end].as_f64().unwrap());
    assert!(low < mean && mean < high, "{took}");
    let grey = image::load_from_memory(&response.body)
        .unwrap()
        .into_luma8();
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / (224.0 * 224.0);
    let drawn = mean(&mut grey.pixels().map(|pixel| f64::from(pixel.0[0]) / 255.0));
    assert!((drawn - mean(&mut alone.iter().copied())).abs() < 0.05);
}

/// Invalid requests are refused, and the device keeps working.
fn refused(http: &str) {
    let response = send(http, PATH, PNG, b"no picture");
    assert!(
        response
            .refused(400, "invalid_value")
            .contains("not an image")
    );
    send(http, PATH, PNG, b"").refused(400, "invalid_value");
    send(http, PATH, "Content-Type: text/html\r\n", b"<p>").refused(415, "unsupported_media_type");
    let headers = format!("{PNG}Accept: text/html\r\n");
    send(http, PATH, &headers, b"x").refused(406, "not_acceptable");
    let image = STANDARD.encode(std::fs::read(photo()).unwrap());
    for (body, status, code) in [
        (json!({ "image": "%" }), 400, "invalid_value"),
        (json!({ "picture": image }), 400, "invalid_value"),
        (
            json!({ "image": image, "model": "gpt-9" }),
            404,
            "model_not_found",
        ),
        (
            json!({ "image": image, "astra": { "rung": 7 } }),
            400,
            "invalid_value",
        ),
        (
            json!({ "image": image, "astra": { "ranges": [1, 2] } }),
            400,
            "invalid_value",
        ),
    ] {
        post(http, "/v1/saliency", &body).refused(status, code);
    }
    get(http, "/v1/saliency").refused(405, "method_not_allowed");
    let chat = json!({ "messages": [{ "role": "user", "content": "hi" }] });
    let message = post(http, "/v1/chat/completions", &chat).refused(400, "unsupported_task");
    assert!(message.contains("takes pictures"), "{message}");
}
