//! Parameters that ask for nothing: clients write them all the same, and every other server takes them.

use super::*;
use crate::generation::GenerationRequest;
use crate::text::fake::{Fake, writer};
use astra_model::tasks::text::fixture;

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

/// Optional parameters of both routes, and an unknown one.
const OF_BOTH: [&str; 23] = [
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "astra",
    "n",
    "logprobs",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "user",
    "metadata",
    "store",
    "service_tier",
    "min_p",
    "repetition_penalty",
    "guided_json",
    "anything_else",
];
/// Those of chats alone.
const OF_CHATS: [&str; 16] = [
    "max_completion_tokens",
    "prompt",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "top_logprobs",
    "modalities",
    "audio",
    "prediction",
    "reasoning_effort",
    "verbosity",
    "web_search_options",
    "chat_template_kwargs",
];
/// Those of completions.
const OF_COMPLETIONS: [&str; 5] = [
    "best_of",
    "echo",
    "suffix",
    "messages",
    "max_completion_tokens",
];

fn asked(model: &Fake) -> GenerationRequest {
    model.asked.lock().unwrap().clone().unwrap().1
}

/// The prompt that the last request came to.
fn prompt(model: &Fake) -> String {
    let prompt = asked(model).prompt;
    fixture::tokenizer().decode(&prompt).unwrap()
}

/// A body with one more field.
fn with(base: &Value, (name, value): (&str, &Value)) -> Value {
    let mut body = base.clone();
    body[name] = value.clone();
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_optional_parameter_may_be_null() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    let user = json!([{ "role": "user", "content": "hi" }]);
    for name in OF_BOTH.iter().chain(&OF_CHATS) {
        let body = with(&json!({ "messages": user }), (name, &Value::Null));
        let said = bed.post(CHAT, &body);
        assert_eq!(said.status, 200, "{name}: {said:?}");
    }
    for name in OF_BOTH.iter().chain(&OF_COMPLETIONS) {
        let body = with(&json!({ "prompt": "a" }), (name, &Value::Null));
        let said = bed.post(COMPLETIONS, &body);
        assert_eq!(said.status, 200, "{name}: {said:?}");
    }
    let inside = json!({ "rung": null, "ranges": null, "alone": null, "deadline": null, "max_members": null,
                         "top_k": null, "repetition_penalty": null });
    let options = json!({ "include_usage": null, "include_obfuscation": null, "continuous_usage_stats": false });
    let body = json!({ "prompt": "a", "astra": inside, "stream": true, "stream_options": options });
    let said = bed.post(COMPLETIONS, &body);
    assert_eq!(said.status, 200, "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_ask_for_what_happens_anyway_are_taken_by_chats() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    let user = json!([{ "role": "user", "content": "hi" }]);
    for (name, value) in [
        ("model", json!("")),
        ("n", json!(1)),
        ("n", json!(1.0)),
        ("logprobs", json!(false)),
        ("top_logprobs", json!(0)),
        ("logit_bias", json!({})),
        ("presence_penalty", json!(0)),
        ("frequency_penalty", json!(0.0)),
        ("tools", json!([])),
        ("tool_choice", json!("none")),
        ("tool_choice", json!("auto")),
        ("functions", json!([])),
        ("parallel_tool_calls", json!(true)),
        ("response_format", json!({ "type": "text" })),
        ("modalities", json!(["text"])),
        ("user", json!("eve")),
        ("metadata", json!({ "a": "b" })),
        ("store", json!(true)),
        ("service_tier", json!("auto")),
        ("verbosity", json!("medium")),
        ("temperature", json!(2.5)),
        ("max_completion_tokens", json!(3)),
        ("max_tokens", json!(16.0)),
        ("max_tokens", json!(u64::MAX)),
        ("max_tokens", json!(1e30)),
        ("seed", json!(-7)),
        ("seed", json!(u64::MAX)),
        ("seed", json!(7.0)),
        ("top_k", json!(-1)),
        ("top_k", json!(0)),
        ("min_p", json!(0.0)),
        ("typical_p", json!(1)),
        ("repeat_penalty", json!(1.0)),
        ("ignore_eos", json!(false)),
        ("skip_special_tokens", json!(true)),
        ("chat_template_kwargs", json!({})),
        ("cache_prompt", json!(true)),
    ] {
        let said = bed.post(CHAT, &with(&json!({ "messages": user }), (name, &value)));
        assert_eq!(said.status, 200, "{name} = {value}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_ask_for_what_happens_anyway_are_taken_by_completions() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    for (name, value) in [
        ("best_of", json!(1)),
        ("echo", json!(false)),
        ("suffix", json!("")),
        ("prompt", json!(["a"])),
        ("prompt", json!([[5, 6]])),
    ] {
        let said = bed.post(
            COMPLETIONS,
            &with(&json!({ "prompt": "a" }), (name, &value)),
        );
        assert_eq!(said.status, 200, "{name} = {value}: {said:?}");
    }
}

/// As llama.cpp: the most likely token is always left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_top_p_of_zero_takes_the_most_likely_token() {
    let model = Fake::saying("x");
    let bed = Bed::of(writer(Arc::clone(&model))).await;
    for top_p in [json!(0), json!(0.0)] {
        let body = json!({ "prompt": "a", "top_p": top_p, "temperature": 0.9, "seed": 5 });
        assert_eq!(bed.post(COMPLETIONS, &body).status, 200);
        let sampling = asked(&model).sampling;
        assert_eq!((sampling.temperature, sampling.top_p), (0.0, 1.0));
    }
    let body = json!({ "prompt": "a", "top_p": 0, "temperature": -1 });
    assert_eq!(
        bed.post(COMPLETIONS, &body).json()["error"]["param"],
        "temperature"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampling_beside_and_inside_astra_is_the_same() {
    let model = Fake::saying("x");
    let bed = Bed::of(writer(Arc::clone(&model))).await;
    for body in [
        json!({ "prompt": "a", "seed": 1, "top_k": 4, "repetition_penalty": 1.5 }),
        json!({ "prompt": "a", "seed": 1, "astra": { "top_k": 4, "repetition_penalty": 1.5 } }),
    ] {
        assert_eq!(bed.post(COMPLETIONS, &body).status, 200);
        let sampling = asked(&model).sampling;
        assert_eq!(
            (sampling.top_k, sampling.repetition_penalty, sampling.seed),
            (4, 1.5, 1)
        );
    }
}

/// llama.cpp's clients write -1 for no limit; a larger limit than the model's longest text changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_limit_is_all_there_is_room_for() {
    let model = Fake::saying("x");
    let bed = Bed::of(writer(Arc::clone(&model))).await;
    for limit in [json!(-1), json!(-1.0), json!(1e30), json!(u64::MAX)] {
        let said = bed.post(
            COMPLETIONS,
            &json!({ "prompt": [5, 6], "max_tokens": limit }),
        );
        assert_eq!(said.status, 200, "{said:?}");
        assert_eq!(asked(&model).stop.max_tokens, Some(254));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_stop_strings_end_nothing() {
    let bed = Bed::of(writer(Fake::saying("one two"))).await;
    for (stop, text) in [
        (json!(""), "one two"),
        (json!([]), "one two"),
        (json!([""]), "one two"),
        (Value::Null, "one two"),
        (json!(["", "e t"]), "on"),
        (json!(["a", "b", "c", "wo"]), "one t"),
    ] {
        let said = bed.post(COMPLETIONS, &json!({ "prompt": "a", "stop": stop }));
        assert_eq!(said.json()["choices"][0]["text"], text, "{stop}: {said:?}");
    }
}

/// What an answer of this API, or of another server, carries comes back in the next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_answers_come_back() {
    let model = Fake::saying("x");
    let bed = Bed::of(writer(Arc::clone(&model))).await;
    let user = json!({ "role": "user", "content": "hi" });
    let said = bed.post(CHAT, &json!({ "messages": [user] }));
    let own = said.json()["choices"][0]["message"].clone();
    for (answer, content) in [
        (own, "x"),
        (
            json!({ "role": "assistant", "content": "yes", "refusal": null, "tool_calls": null, "function_call": null,
                    "audio": null, "annotations": [], "name": null, "parsed": null, "reasoning": null,
                    "reasoning_content": null, "provider_specific_fields": {}, "prefix": false }),
            "yes",
        ),
        (json!({ "role": "assistant", "content": null }), ""),
        (json!({ "role": "assistant" }), ""),
        (
            json!({ "role": "assistant", "content": null, "tool_calls": [] }),
            "",
        ),
        (
            json!({ "role": "assistant", "content": "yes", "reasoning_content": "hm" }),
            "yes",
        ),
        (
            json!({ "role": "assistant", "content": [{ "type": "text", "text": "yes" }] }),
            "yes",
        ),
    ] {
        let said = bed.post(CHAT, &json!({ "messages": [user, answer, user] }));
        assert_eq!(said.status, 200, "{answer}: {said:?}");
        let expected = format!("user: hi\nassistant: {content}\nuser: hi\nassistant:");
        assert_eq!(prompt(&model), expected, "{answer}");
    }
}
