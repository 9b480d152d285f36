//! Parameters that are not possible, by route.

use super::bad::{CHAT, COMPLETIONS, refused};
use super::*;
use crate::text::fake::{Fake, writer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_that_are_not_possible() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    let long = "x".repeat(256);
    let base = json!({ "prompt": "a" });
    for (change, status, code, param, part) in [
        (
            json!({ "prompt": "" }),
            400,
            "empty_prompt",
            "prompt",
            "at least one token",
        ),
        (
            json!({ "prompt": [] }),
            400,
            "empty_prompt",
            "prompt",
            "at least one token",
        ),
        (
            json!({ "prompt": null }),
            400,
            "invalid_value",
            "prompt",
            "missing",
        ),
        (
            json!({ "prompt": 7 }),
            400,
            "invalid_value",
            "prompt",
            "expected a string",
        ),
        (
            json!({ "prompt": ["a", "b"] }),
            400,
            "unsupported_parameter",
            "prompt",
            "2 prompts",
        ),
        (
            json!({ "prompt": [9999] }),
            400,
            "invalid_value",
            "prompt",
            "9999",
        ),
        (
            json!({ "prompt": long }),
            400,
            "context_length_exceeded",
            "prompt",
            "prompt: found 256 tokens, expected at most 255",
        ),
        (
            json!({ "temperature": 1e300 }),
            400,
            "invalid_value",
            "temperature",
            "temperature: found a number out of range",
        ),
        (
            json!({ "stop": [1] }),
            400,
            "invalid_value",
            "stop",
            "expected a string or a list of strings",
        ),
        (
            json!({ "model": "gpt-9" }),
            404,
            "model_not_found",
            "model",
            "gpt-9",
        ),
        (
            json!({ "max_tokens": 0 }),
            400,
            "invalid_value",
            "max_tokens",
            "at least 1",
        ),
        (
            json!({ "max_tokens": -2 }),
            400,
            "invalid_value",
            "max_tokens",
            "max_tokens is -2: expected at least 1, or -1 for no limit",
        ),
        (
            json!({ "max_tokens": 1.5 }),
            400,
            "invalid_value",
            "max_tokens",
            "found 1.5, expected a whole number",
        ),
        (
            json!({ "seed": 1e20 }),
            400,
            "invalid_value",
            "seed",
            "expected one of 64 bits",
        ),
        (
            json!({ "top_k": -2 }),
            400,
            "invalid_value",
            "top_k",
            "top_k is -2",
        ),
        (
            json!({ "top_k": 2, "astra": { "top_k": 2 } }),
            400,
            "invalid_value",
            "top_k",
            "one of the two",
        ),
        (
            json!({ "temperature": -1 }),
            400,
            "invalid_value",
            "temperature",
            "-1",
        ),
        (
            json!({ "top_p": 2 }),
            400,
            "invalid_value",
            "top_p",
            "at most 1",
        ),
        (
            json!({ "top_p": -0.1 }),
            400,
            "invalid_value",
            "top_p",
            "at most 1",
        ),
        (
            json!({ "stream": true, "stream_options": { "continuous_usage_stats": true } }),
            400,
            "unsupported_parameter",
            "stream_options.continuous_usage_stats",
            "not supported",
        ),
        (
            json!({ "min_p": 0.1 }),
            400,
            "unsupported_parameter",
            "min_p",
            "not supported",
        ),
        (
            json!({ "stop": 1 }),
            400,
            "invalid_value",
            "stop",
            "expected a string",
        ),
        (
            json!({ "stream_options": {} }),
            400,
            "invalid_value",
            "stream_options",
            "stream",
        ),
        (
            json!({ "n": 2 }),
            400,
            "unsupported_parameter",
            "n",
            "not supported",
        ),
        (
            json!({ "best_of": 3 }),
            400,
            "unsupported_parameter",
            "best_of",
            "not supported",
        ),
        (
            json!({ "logprobs": 0 }),
            400,
            "unsupported_parameter",
            "logprobs",
            "not supported",
        ),
        (
            json!({ "echo": true }),
            400,
            "unsupported_parameter",
            "echo",
            "not supported",
        ),
        (
            json!({ "suffix": "b" }),
            400,
            "unsupported_parameter",
            "suffix",
            "not supported",
        ),
        (
            json!({ "logit_bias": { "5": 1 } }),
            400,
            "unsupported_parameter",
            "logit_bias",
            "not supported",
        ),
        (
            json!({ "frequency_penalty": 0.5 }),
            400,
            "unsupported_parameter",
            "frequency_penalty",
            "not supported",
        ),
        (
            json!({ "messages": [] }),
            400,
            "unsupported_parameter",
            "messages",
            "no parameter",
        ),
        (
            json!({ "grammar": "x" }),
            400,
            "unknown_parameter",
            "grammar",
            "grammar",
        ),
        (
            json!({ "astra": { "rungs": 3 } }),
            400,
            "invalid_value",
            "astra.rungs",
            "unknown field",
        ),
        (
            json!({ "astra": { "rung": "high" } }),
            400,
            "invalid_value",
            "astra.rung",
            "high",
        ),
        (
            json!({ "astra": { "deadline": "soon" } }),
            400,
            "invalid_value",
            "astra.deadline",
            "soon",
        ),
    ] {
        let mut body = base.clone();
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        refused(
            &bed.post(COMPLETIONS, &body),
            status,
            code,
            Some(param),
            part,
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chats_that_are_not_possible() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    let user = json!([{ "role": "user", "content": "hi" }]);
    for (body, code, param, part) in [
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
    ] {
        let said = bed.post(CHAT, &body);
        let param_found = said.json()["error"]["param"]
            .as_str()
            .unwrap_or("")
            .to_owned();
        assert!(param_found.starts_with(param), "{param} for {said:?}");
        refused(&said, 400, code, Some(&param_found), part);
    }
}
