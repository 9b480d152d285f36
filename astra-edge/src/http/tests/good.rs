use super::*;
use crate::generation::SamplingParams;
use crate::text::fake::{BREAK, Fake, writer};
use astra_model::tasks::text::fixture;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_in_one_piece() {
    let model = Fake::saying("one two three");
    let bed = Bed::of(writer(Arc::clone(&model))).await;
    let said = bed.post(
        "/v1/completions",
        &json!({ "model": MODEL, "prompt": "hello", "max_tokens": 7, "temperature": 0, "seed": 3,
                 "stop": ["zzz"], "astra": { "rung": "exact", "ranges": [5, 6], "alone": true, "deadline": "800ms",
                 "max_members": 2, "top_k": 4, "repetition_penalty": 1.5 } }),
    );
    assert_eq!(said.status, 200, "{said:?}");
    assert!(
        said.head.contains("content-type: application/json"),
        "{said:?}"
    );
    let answer = said.json();
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["model"], MODEL);
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(answer["choices"][0]["text"], "one two");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["choices"][0]["index"], 0);
    let usage = &answer["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(usage["total_tokens"], 8);
    let astra = &answer["astra"];
    assert_eq!(astra["rung"], "exact");
    assert_eq!(astra["agreement"]["class"], "exact");
    for key in ["members", "timings", "bytes", "coordinator", "missing"] {
        assert!(!astra[key].is_null(), "{key} is missing in {astra}");
    }
    let (context, request) = model.asked.lock().unwrap().clone().unwrap();
    assert_eq!(
        request.sampling,
        SamplingParams {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 4,
            repetition_penalty: 1.5,
            seed: 3
        }
    );
    let options = context.options;
    assert_eq!((options.rung, options.local), (Some(0), true));
    assert_eq!((options.deadline_ms, options.max_members), (800, 2));
    assert_eq!(context.tokens_per_member, Some(vec![5, 6]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_has_sixteen_tokens_and_a_chat_all_there_is_room_for() {
    let model = Fake::saying(&"x".repeat(300));
    let bed = Bed::of(writer(Arc::clone(&model))).await;
    let said = bed.post(
        "/v1/completions",
        &json!({ "prompt": [fixture::byte(b'a'), 3] }),
    );
    assert_eq!(said.json()["usage"]["completion_tokens"], 16, "{said:?}");
    let messages = json!([
        { "role": "developer", "content": "be brief" },
        { "role": "user", "name": "eve", "content": [{ "type": "text", "text": "he" }, { "type": "text", "text": "llo" }] },
        { "role": "assistant", "content": "yes", "refusal": null, "tool_calls": [] },
        { "role": "user", "content": "more" },
    ]);
    let said = bed.post("/v1/chat/completions", &json!({ "messages": messages }));
    let answer = said.json();
    assert_eq!(answer["object"], "chat.completion", "{said:?}");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["total_tokens"], 256);
    let (_, request) = model.asked.lock().unwrap().clone().unwrap();
    let prompt = fixture::tokenizer().decode(&request.prompt).unwrap();
    assert_eq!(
        prompt,
        "system: be brief\nuser: hello\nassistant: yes\nuser: more\nassistant:"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_as_a_stream() {
    let bed = Bed::of(writer(Fake::saying("aß! END more"))).await;
    let said = bed.post(
        "/v1/chat/completions",
        &json!({ "messages": [{ "role": "user", "content": "hi" }], "stream": true, "stop": "END",
                 "stream_options": { "include_usage": true } }),
    );
    assert_eq!(said.status, 200);
    assert!(
        said.head.contains("content-type: text/event-stream"),
        "{said:?}"
    );
    let events = said.events();
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    let (usage, chunks) = chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], "aß! END".len());
    let (last, chunks) = chunks.split_last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert_eq!(last["astra"]["agreement"]["class"], "exact");
    assert_eq!(
        chunks[0]["choices"][0]["delta"],
        json!({ "role": "assistant", "content": "" })
    );
    let text: Vec<&str> = chunks
        .iter()
        .map(|chunk| {
            assert_eq!(chunk["object"], "chat.completion.chunk");
            assert_eq!(chunk["id"], usage["id"]);
            assert_eq!(chunk["usage"], Value::Null);
            assert_eq!(chunk["choices"][0]["finish_reason"], Value::Null);
            chunk["choices"][0]["delta"]["content"].as_str().unwrap()
        })
        .collect();
    assert_eq!(text, ["", "a", "ß", "!", " "]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_says_so() {
    let bed = Bed::of(writer(Fake::saying(""))).await;
    let said = bed.post(
        "/v1/completions",
        &json!({ "prompt": BREAK, "stream": true }),
    );
    let events = said.events();
    assert_eq!(events.len(), 2, "{said:?}");
    let chunk: Value = serde_json::from_str(events[0]).unwrap();
    assert_eq!(chunk["choices"][0]["text"], "x");
    let error: Value = serde_json::from_str(events[1]).unwrap();
    assert_eq!(error["error"]["type"], "server_error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_told() {
    let bed = Bed::of(writer(Fake::saying("x"))).await;
    let models = bed.get("/v1/models").json();
    assert_eq!(models["object"], "list");
    assert_eq!(models["data"][0]["id"], MODEL);
    assert_eq!(models["data"][0]["astra"]["family"], "llama");
    assert_eq!(bed.get("/v1/models/fake-1").json()["object"], "model");
    let health = bed.get("/healthz").json();
    assert_eq!(health["status"], "ok");
    assert_eq!(
        (&health["device"], &health["cluster"]),
        (&json!("kitchen"), &json!("home"))
    );
    bed.server.stop().await;
}
