use super::fake::{BREAK, FAIL, Fake, embedder, writer};
use super::*;
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::response::GenerationResponse;
use crate::generation::{FinishReason, GenerationRequest, StopConditions};
use astra_bundle::{Embedding, Task, TextPooling};
use astra_model::tasks::text::fixture;
use astra_model::tasks::text::sampling::GREEDY;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn of(prompt: Prompt) -> GenerationRequest<Prompt> {
    GenerationRequest {
        prompt,
        sampling: GREEDY,
        stop: StopConditions::default(),
    }
}

fn text(prompt: &str) -> GenerationRequest<Prompt> {
    of(Prompt::Text(prompt.to_owned()))
}

/// Counts until `string` comes.
fn stopped_by(string: &str) -> GenerationRequest<Prompt> {
    GenerationRequest {
        stop: StopConditions {
            strings: vec![string.to_owned()],
            ..StopConditions::default()
        },
        ..text("count")
    }
}

/// Generates, for a client that stays.
async fn generate(
    service: &TextService,
    request: GenerationRequest<Prompt>,
) -> Result<TextStream, TextError> {
    service.generate(RequestContext::default(), request).await
}

/// The whole text, and the end.
async fn read(mut stream: TextStream) -> Result<(Vec<String>, GenerationResponse), TextError> {
    let mut pieces = Vec::new();
    while let Some(event) = stream.next().await {
        match event? {
            TextEvent::Delta(piece) => pieces.push(piece),
            TextEvent::Finished(response) => return Ok((pieces, *response)),
        }
    }
    panic!("no end after {pieces:?}");
}

#[tokio::test]
async fn text_comes_in_whole_characters_and_ends() {
    let words = writer(Fake::saying("aß!"));
    let stream = generate(&words, text("hello")).await.unwrap();
    // One token of the fixture is the whole word.
    assert_eq!(stream.prompt_tokens, 1);
    let (pieces, ended) = read(stream).await.unwrap();
    assert_eq!(pieces, ["a", "ß", "!"]);
    assert_eq!((ended.tokens, ended.finish_reason), (4, FinishReason::Stop));
    // Half a character that nothing completes is shown as such.
    let half = GenerationRequest {
        stop: StopConditions::after(2),
        ..text("hello")
    };
    let (pieces, ended) = read(generate(&words, half).await.unwrap()).await.unwrap();
    assert_eq!(pieces, ["a", "\u{fffd}"]);
    assert_eq!(
        (ended.tokens, ended.finish_reason),
        (2, FinishReason::Length)
    );
}

#[tokio::test]
async fn a_stop_string_ends_the_generation() {
    let model = Fake::saying("one two three");
    let stopped = stopped_by("wo t");
    let words = writer(Arc::clone(&model));
    let (pieces, ended) = read(generate(&words, stopped).await.unwrap())
        .await
        .unwrap();
    assert_eq!(pieces.concat(), "one t");
    assert_eq!(ended.finish_reason, FinishReason::Stop);
    assert_eq!(ended.tokens, "one two t".len());
    let held = stopped_by("three!");
    let (pieces, _) = read(generate(&words, held).await.unwrap()).await.unwrap();
    assert_eq!(pieces.concat(), "one two three");
}

#[tokio::test]
async fn a_client_that_disconnects_ends_the_generation() {
    let model = Arc::new(Fake {
        says: "on and on ".to_owned(),
        endless: true,
        ..Fake::default()
    });
    let words = writer(Arc::clone(&model));
    let mut stream = generate(&words, text("go")).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(TextEvent::Delta(_)))));
    drop(stream);
    while model.ended.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(model.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_chat_goes_through_the_template() {
    let model = Fake::saying("yes");
    let words = writer(Arc::clone(&model));
    let message = Message::new("user", "hello?");
    read(
        generate(&words, of(Prompt::Chat(vec![message])))
            .await
            .unwrap(),
    )
    .await
    .unwrap();
    let (_, asked) = model.asked.lock().unwrap().clone().unwrap();
    let prompt = fixture::tokenizer().decode(&asked.prompt).unwrap();
    assert_eq!(prompt, "user: hello?\nassistant:");
    // As many tokens as there is room for.
    assert_eq!(asked.stop.max_tokens, Some(256 - asked.prompt.len()));
}

#[tokio::test]
async fn invalid_requests_are_refused() {
    let words = writer(Fake::saying("x"));
    let refused = async |request| match generate(&words, request).await {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    };
    let empty = "prompt: found an empty one, expected at least one token";
    assert_eq!(refused(text("")).await, empty);
    assert_eq!(refused(of(Prompt::Tokens(vec![]))).await, empty);
    assert_eq!(refused(of(Prompt::Chat(vec![]))).await, empty);
    assert_eq!(
        refused(text(&"x".repeat(256))).await,
        "prompt: found 256 tokens, expected at most 255"
    );
    assert!(generate(&words, text(&"x".repeat(255))).await.is_ok());
    assert_eq!(
        refused(of(Prompt::Tokens(vec![5, 262]))).await,
        "token id: found 262, expected less than 262"
    );
    let no_tokens = GenerationRequest {
        stop: StopConditions::after(0),
        ..text("x")
    };
    assert!(refused(no_tokens).await.contains("max_tokens: found 0"));
    let input = Prompt::Text("x".to_owned());
    let error = words.embed(RequestContext::default(), input).await;
    assert_eq!(
        error.err().unwrap().to_string(),
        "this model does not embed text: it generates text"
    );
    let error = generate(&embedder(), text("x")).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "this model does not generate text: it embeds text"
    );
}

#[tokio::test]
async fn failures_of_the_model_come_through() {
    let words = writer(Fake::saying("x"));
    let error = read(generate(&words, text(FAIL)).await.unwrap()).await;
    assert!(error.unwrap_err().to_string().contains("the model broke"));
    let mut stream = generate(&words, text(BREAK)).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(TextEvent::Delta(_)))));
    assert!(matches!(stream.next().await, Some(Err(_))));
    assert!(stream.next().await.is_none());
}

#[test]
fn the_prompt_of_a_model_goes_before_texts_and_not_before_token_ids() {
    let embedding = Embedding {
        prompt: "to find: ".to_owned(),
        ..Embedding::plain(TextPooling::Mean, true)
    };
    let of = super::fake::text(Task::Embedding(embedding));
    let ids = |prompt: Prompt| of.ids(&prompt, 100);
    let expected = fixture::tokenizer().encode("to find: hello").unwrap();
    let text = |text: &str| ids(Prompt::Text(text.to_owned()));
    assert_eq!(text("hello").unwrap(), expected);
    assert!(matches!(text(""), Err(TextError::Empty)));
    assert_eq!(ids(Prompt::Tokens(vec![5, 6])).unwrap(), [5, 6]);
}

#[tokio::test]
async fn a_text_has_one_vector() {
    let (embedded, tokens) = embedder()
        .embed(
            RequestContext::default(),
            Prompt::Text("hello you".to_owned()),
        )
        .await
        .unwrap();
    assert_eq!(tokens, 5);
    assert_eq!(embedded.embedding, [5.0, 0.5, -1.0]);
}

#[tokio::test]
async fn a_chat_template_that_cannot_be_used_costs_chats_alone() {
    let input = fixture::input();
    let text_of = BundleText::of(
        fixture::tokenizer(),
        input,
        Task::Generation,
        Some("{% no such tag %}"),
    );
    let words = TextService::new(Fake::saying("yes"), text_of);
    let stream = generate(&words, text("hello")).await.unwrap();
    assert_eq!(read(stream).await.unwrap().0.concat(), "yes");
    let chat = of(Prompt::Chat(vec![Message::new("user", "hello")]));
    let error = generate(&words, chat).await.err().unwrap();
    let expected = "the model's chat template cannot be parsed: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}
