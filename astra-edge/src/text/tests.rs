use super::fake::{BREAK, FAIL, Fake, embedder, writer};
use super::*;
use astra_bundle::{Embedding, Task, TextPooling};
use astra_model::tasks::text::fixture;
use std::sync::atomic::Ordering;

fn ask(prompt: Prompt) -> Ask {
    Ask {
        options: RequestOptions::default(),
        shares: None,
        prompt,
        sampling: Sampling::GREEDY,
        stops: Vec::new(),
        max_tokens: None,
    }
}

fn text(prompt: &str) -> Ask {
    ask(Prompt::Text(prompt.to_owned()))
}

/// Everything that was written, and the end.
async fn read(mut writing: Writing) -> Result<(Vec<String>, Ended), TextError> {
    let mut pieces = Vec::new();
    while let Some(event) = writing.next().await {
        match event? {
            Event::Piece(piece) => pieces.push(piece),
            Event::End(ended) => return Ok((pieces, *ended)),
        }
    }
    panic!("no end after {pieces:?}");
}

#[tokio::test]
async fn text_comes_in_whole_characters_and_ends() {
    let words = writer(Fake::saying("aß!"));
    let writing = words
        .write(text("hello"), ClientHandle::default())
        .await
        .unwrap();
    // One token of the fixture is the whole word.
    assert_eq!(writing.prompt_tokens, 1);
    let (pieces, ended) = read(writing).await.unwrap();
    assert_eq!(pieces, ["a", "ß", "!"]);
    assert_eq!((ended.tokens, ended.cut), (4, false));
    // Half a character that nothing completes is shown as such.
    let half = Ask {
        max_tokens: Some(2),
        ..text("hello")
    };
    let (pieces, ended) = read(words.write(half, ClientHandle::default()).await.unwrap())
        .await
        .unwrap();
    assert_eq!(pieces, ["a", "\u{fffd}"]);
    assert_eq!((ended.tokens, ended.cut), (2, true));
}

#[tokio::test]
async fn a_stop_string_ends_the_generation() {
    let model = Fake::saying("one two three");
    let stopped = Ask {
        stops: vec!["wo t".to_owned()],
        ..text("count")
    };
    let words = writer(Arc::clone(&model));
    let (pieces, ended) = read(words.write(stopped, ClientHandle::default()).await.unwrap())
        .await
        .unwrap();
    assert_eq!(pieces.concat(), "one t");
    assert!(!ended.cut);
    assert_eq!(ended.tokens, "one two t".len());
    let held = Ask {
        stops: vec!["three!".to_owned()],
        ..text("count")
    };
    let (pieces, _) = read(words.write(held, ClientHandle::default()).await.unwrap())
        .await
        .unwrap();
    assert_eq!(pieces.concat(), "one two three");
}

#[tokio::test]
async fn an_asker_that_goes_away_ends_the_generation() {
    let model = Arc::new(Fake {
        says: "on and on ".to_owned(),
        endless: true,
        ..Fake::default()
    });
    let words = writer(Arc::clone(&model));
    let mut writing = words
        .write(text("go"), ClientHandle::default())
        .await
        .unwrap();
    assert!(matches!(writing.next().await, Some(Ok(Event::Piece(_)))));
    drop(writing);
    while model.ended.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(model.gone.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_chat_goes_through_the_template() {
    let model = Fake::saying("yes");
    let words = writer(Arc::clone(&model));
    let message = Message::new("user", "hello?");
    read(
        words
            .write(ask(Prompt::Chat(vec![message])), ClientHandle::default())
            .await
            .unwrap(),
    )
    .await
    .unwrap();
    let asked = model.asked.lock().unwrap().clone().unwrap();
    let prompt = fixture::tokenizer().decode(&asked.prompt).unwrap();
    assert_eq!(prompt, "user: hello?\nassistant:");
    // As many tokens as there is room for.
    assert_eq!(asked.max_tokens, 256 - asked.prompt.len());
}

#[tokio::test]
async fn questions_that_cannot_be_are_refused() {
    let words = writer(Fake::saying("x"));
    let refused = async |question: Ask| match words.write(question, ClientHandle::default()).await {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    };
    let empty = "prompt: found an empty one, expected at least one token";
    assert_eq!(refused(text("")).await, empty);
    assert_eq!(refused(ask(Prompt::Tokens(vec![]))).await, empty);
    assert_eq!(refused(ask(Prompt::Chat(vec![]))).await, empty);
    assert_eq!(
        refused(text(&"x".repeat(256))).await,
        "the prompt is 256 tokens long: expected at most 255"
    );
    assert!(
        words
            .write(text(&"x".repeat(255)), ClientHandle::default())
            .await
            .is_ok()
    );
    assert_eq!(
        refused(ask(Prompt::Tokens(vec![5, 262]))).await,
        "token id: found 262, expected less than 262"
    );
    let no_tokens = Ask {
        max_tokens: Some(0),
        ..text("x")
    };
    assert!(refused(no_tokens).await.contains("max_tokens: found 0"));
    let options = RequestOptions::default();
    let error = words
        .embed(
            options,
            None,
            Prompt::Text("x".to_owned()),
            ClientHandle::default(),
        )
        .await;
    assert_eq!(
        error.err().unwrap().to_string(),
        "this model does not embed text: it goes on from a prompt"
    );
    let error = embedder()
        .write(text("x"), ClientHandle::default())
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "this model does not generate text: it makes one vector of a text"
    );
}

#[tokio::test]
async fn failures_of_the_model_come_through() {
    let words = writer(Fake::saying("x"));
    let error = read(
        words
            .write(text(FAIL), ClientHandle::default())
            .await
            .unwrap(),
    )
    .await;
    assert!(error.unwrap_err().to_string().contains("the model broke"));
    let mut writing = words
        .write(text(BREAK), ClientHandle::default())
        .await
        .unwrap();
    assert!(matches!(writing.next().await, Some(Ok(Event::Piece(_)))));
    assert!(matches!(writing.next().await, Some(Err(_))));
    assert!(writing.next().await.is_none());
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
            RequestOptions::default(),
            None,
            Prompt::Text("hello you".to_owned()),
            ClientHandle::default(),
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
    let writing = words
        .write(text("hello"), ClientHandle::default())
        .await
        .unwrap();
    assert_eq!(read(writing).await.unwrap().0.concat(), "yes");
    let chat = ask(Prompt::Chat(vec![Message::new("user", "hello")]));
    let error = words
        .write(chat, ClientHandle::default())
        .await
        .err()
        .unwrap();
    let said = "the model's chat template cannot be read: ";
    assert!(error.to_string().starts_with(said), "{error}");
}
