//! Devices that are told to end while they answer.

use std::io::Read;

use serde_json::json;

use crate::device::{Cluster, language_dir};
use crate::generation::{ids, stream};
use crate::web::post;

#[test]
fn a_device_that_is_told_to_end_answers_first_and_takes_nothing_new() {
    let mut cluster = Cluster::with_bundle(&language_dir(), &["a"]);
    let mut running = stream(&cluster, &ids(20, 1), 64, &json!({}));
    cluster.device("a").signal("TERM");
    // Refused anyway, so that it waits for nothing.
    let body = json!({ "prompt": "x", "max_tokens": 0 });
    cluster.until("it refuses new requests", || {
        let response = post(cluster.http(), "/v1/completions", &body);
        response.status == 503 && response.refused(503, "overloaded").contains("stops")
    });
    let mut rest = String::new();
    running.read_to_string(&mut rest).unwrap();
    assert!(rest.trim_end().ends_with("data: [DONE]"), "{rest}");
    assert!(cluster.device("a").wait().success(), "{}", cluster.logs());
}
