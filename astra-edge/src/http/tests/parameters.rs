//! Parameters that are not possible, by route.

use super::bad::{CHAT, COMPLETIONS, refused};
use super::*;
use crate::text::fake::{Fake, writer};

/// A body, and the code, the parameter and a part of the message of its refusal.
type Refusal = (Value, &'static str, &'static str, &'static str);

/// The fields are added to a body that is possible.
async fn refuses_completions(refusals: impl IntoIterator<Item = Refusal>) {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    for (fields, code, param, part) in refusals {
        let body = with_fields(&fields);
        refused(&bed.post(COMPLETIONS, &body), 400, code, Some(param), part);
    }
}

fn with_fields(fields: &Value) -> Value {
    let mut body = json!({ "prompt": "a" });
    for (key, value) in fields.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

async fn refuses_chats(refusals: impl IntoIterator<Item = Refusal>) {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    for (body, code, param, part) in refusals {
        let said = bed.post(CHAT, &body);
        let param_found = said.json()["error"]["param"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        assert!(param_found.starts_with(param), "{param} for {said:?}");
        refused(&said, 400, code, Some(&param_found), part);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_that_are_not_possible() {
    let long = "x".repeat(256);
    refuses_completions([
        (
            json!({ "prompt": "" }),
            "empty_prompt",
            "prompt",
            "at least one token",
        ),
        (
            json!({ "prompt": [] }),
            "empty_prompt",
            "prompt",
            "at least one token",
        ),
        (
            json!({ "prompt": null }),
            "invalid_value",
            "prompt",
            "missing",
        ),
        (
            json!({ "prompt": 7 }),
            "invalid_value",
            "prompt",
            "expected a string",
        ),
        (
            json!({ "prompt": ["a", "b"] }),
            "unsupported_parameter",
            "prompt",
            "2 prompts",
        ),
        (
            json!({ "prompt": [9999] }),
            "invalid_value",
            "prompt",
            "9999",
        ),
        (
            json!({ "prompt": long }),
            "context_length_exceeded",
            "prompt",
            "prompt: found 256 tokens, expected at most 255",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_is_not_there() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    let said = bed.post(COMPLETIONS, &with_fields(&json!({ "model": "gpt-9" })));
    refused(&said, 404, "model_not_found", Some("model"), "gpt-9");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_that_are_not_possible() {
    refuses_completions([
        (
            json!({ "max_tokens": 0 }),
            "invalid_value",
            "max_tokens",
            "at least 1",
        ),
        (
            json!({ "max_tokens": -2 }),
            "invalid_value",
            "max_tokens",
            "max_tokens: found -2, expected at least 1, or -1 for no limit",
        ),
        (
            json!({ "max_tokens": 1.5 }),
            "invalid_value",
            "max_tokens",
            "found 1.5, expected a whole number",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampling_parameters_that_are_not_possible() {
    refuses_completions([
        (
            json!({ "temperature": 1e300 }),
            "invalid_value",
            "temperature",
            "temperature: found a number out of range",
        ),
        (
            json!({ "seed": 1e20 }),
            "invalid_value",
            "seed",
            "expected one of 64 bits",
        ),
        (
            json!({ "top_k": -2 }),
            "invalid_value",
            "top_k",
            "top_k: found -2",
        ),
        (
            json!({ "top_k": 2, "astra": { "top_k": 2 } }),
            "invalid_value",
            "top_k",
            "one of the two",
        ),
        (
            json!({ "temperature": -1 }),
            "invalid_value",
            "temperature",
            "-1",
        ),
        (json!({ "top_p": 2 }), "invalid_value", "top_p", "at most 1"),
        (
            json!({ "top_p": -0.1 }),
            "invalid_value",
            "top_p",
            "at most 1",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_strings_and_options_of_streams_that_are_not_possible() {
    refuses_completions([
        (
            json!({ "stop": [1] }),
            "invalid_value",
            "stop",
            "expected a string or a list of strings",
        ),
        (
            json!({ "stream": true, "stream_options": { "continuous_usage_stats": true } }),
            "unsupported_parameter",
            "stream_options.continuous_usage_stats",
            "not supported",
        ),
        (
            json!({ "stop": 1 }),
            "invalid_value",
            "stop",
            "expected a string",
        ),
        (
            json!({ "stream_options": {} }),
            "invalid_value",
            "stream_options",
            "stream",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_that_are_not_supported() {
    refuses_completions([
        (
            json!({ "min_p": 0.1 }),
            "unsupported_parameter",
            "min_p",
            "not supported",
        ),
        (
            json!({ "n": 2 }),
            "unsupported_parameter",
            "n",
            "not supported",
        ),
        (
            json!({ "best_of": 3 }),
            "unsupported_parameter",
            "best_of",
            "not supported",
        ),
        (
            json!({ "logprobs": 0 }),
            "unsupported_parameter",
            "logprobs",
            "not supported",
        ),
        (
            json!({ "echo": true }),
            "unsupported_parameter",
            "echo",
            "not supported",
        ),
        (
            json!({ "suffix": "b" }),
            "unsupported_parameter",
            "suffix",
            "not supported",
        ),
        (
            json!({ "logit_bias": { "5": 1 } }),
            "unsupported_parameter",
            "logit_bias",
            "not supported",
        ),
        (
            json!({ "frequency_penalty": 0.5 }),
            "unsupported_parameter",
            "frequency_penalty",
            "not supported",
        ),
        (
            json!({ "messages": [] }),
            "unsupported_parameter",
            "messages",
            "no parameter",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_are_unknown_and_values_of_astra_that_are_not_possible() {
    refuses_completions([
        (
            json!({ "grammar": "x" }),
            "unknown_parameter",
            "grammar",
            "grammar",
        ),
        (
            json!({ "astra": { "rungs": 3 } }),
            "invalid_value",
            "astra.rungs",
            "unknown field",
        ),
        (
            json!({ "astra": { "rung": "high" } }),
            "invalid_value",
            "astra.rung",
            "high",
        ),
        (
            json!({ "astra": { "deadline": "soon" } }),
            "invalid_value",
            "astra.deadline",
            "soon",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_not_possible() {
    refuses_chats([
        (json!({}), "invalid_value", "messages", "missing"),
        (
            json!({ "messages": [] }),
            "empty_prompt",
            "messages",
            "at least one",
        ),
        (
            json!({ "messages": [{ "role": "tool", "content": "x" }] }),
            "invalid_value",
            "messages[0].role",
            "tool",
        ),
        (
            json!({ "messages": [{ "role": "user" }] }),
            "invalid_value",
            "messages[0].content",
            "without content",
        ),
        (
            json!({ "messages": [{ "content": "x" }] }),
            "invalid_value",
            "messages",
            "role",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": {} }] }] }),
            "unsupported_parameter",
            "messages[0].content",
            "image_url",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "content": "x", "tool_calls": [{}] }] }),
            "unsupported_parameter",
            "messages[0].tool_calls",
            "not supported",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_of_chats_that_are_not_supported() {
    let user = json!([{ "role": "user", "content": "hi" }]);
    refuses_chats([
        (
            json!({ "messages": user, "tools": [{ "type": "function" }] }),
            "unsupported_parameter",
            "tools",
            "not supported",
        ),
        (
            json!({ "messages": user, "logprobs": true }),
            "unsupported_parameter",
            "logprobs",
            "not supported",
        ),
        (
            json!({ "messages": user, "response_format": { "type": "json_object" } }),
            "unsupported_parameter",
            "response_format",
            "not supported",
        ),
        (
            json!({ "messages": user, "prompt": "a" }),
            "unsupported_parameter",
            "prompt",
            "no parameter",
        ),
        (
            json!({ "messages": user, "n": 3 }),
            "unsupported_parameter",
            "n",
            "not supported",
        ),
    ])
    .await;
}
