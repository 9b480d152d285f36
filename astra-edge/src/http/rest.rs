//! What a request holds beyond the parameters that are read: ignored, accepted where it requests nothing, or refused by name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::ApiError;

/// Fields of a JSON object that no parameter of a route takes.
pub(super) type Rest = BTreeMap<String, Value>;

/// Ignored: they change nothing in what is answered.
const IGNORED: [&str; 8] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "cache_prompt",
];

/// Known, and accepted only with a value that requests nothing: parameters of OpenAI's API, then what vLLM and llama.cpp add.
const UNSUPPORTED: [&str; 35] = [
    "n",
    "best_of",
    "suffix",
    "echo",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "modalities",
    "audio",
    "prediction",
    "reasoning_effort",
    "verbosity",
    "web_search_options",
    "min_p",
    "typical_p",
    "mirostat",
    "repeat_penalty",
    "length_penalty",
    "min_tokens",
    "ignore_eos",
    "use_beam_search",
    "include_stop_str_in_output",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "add_generation_prompt",
    "continue_final_message",
    "chat_template_kwargs",
];

/// Numbers that are 1 where they request nothing; others are 0.
const ONE: [&str; 5] = [
    "n",
    "best_of",
    "typical_p",
    "repeat_penalty",
    "length_penalty",
];

/// Switches that are on where they request nothing; others are off.
const ON: [&str; 3] = [
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "add_generation_prompt",
];

/// Refuses unsupported parameters that request something. `null` counts as not given.
pub(super) fn check(rest: &Rest) -> Result<(), ApiError> {
    for (name, value) in rest {
        if value.is_null() || IGNORED.contains(&name.as_str()) {
            continue;
        }
        if !UNSUPPORTED.contains(&name.as_str()) {
            let message = format!("there is no parameter {name:?}");
            let mut error = ApiError::unsupported(name, message);
            error.code = "unknown_parameter";
            return Err(error);
        }
        if !asks_for_nothing(name, value) {
            let message = format!("{name} = {value} is not supported");
            return Err(ApiError::unsupported(name, message));
        }
    }
    Ok(())
}

/// Whether a parameter that is not supported requests what happens anyway.
fn asks_for_nothing(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("parallel_tool_calls", Value::Bool(_)) => true,
        ("tool_choice" | "function_call", Value::String(choice)) => {
            choice == "none" || choice == "auto"
        }
        ("response_format", Value::Object(format)) => {
            format.get("type").and_then(Value::as_str) == Some("text")
        }
        ("modalities", Value::Array(list)) => list.iter().all(|item| item == "text"),
        ("verbosity", Value::String(choice)) => choice == "medium",
        // Of completions 0 requests the probability of each token.
        ("logprobs", Value::Number(_)) => false,
        (_, Value::Number(number)) => {
            let neutral = if ONE.contains(&name) { 1.0 } else { 0.0 };
            number.as_f64() == Some(neutral)
        }
        (_, Value::Bool(on)) => *on == ON.contains(&name),
        (_, other) => is_empty(other),
    }
}

/// Whether a value says nothing, as fields do that a client sends back with the message they came in.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}
