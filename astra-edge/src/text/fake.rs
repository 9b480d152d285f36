//! A model of a few known answers, for tests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::cluster::request::generate::Finish;
use astra_bundle::{Embedding, Task, TextPooling};
use astra_model::tasks::text::fixture;

/// What a prompt makes the fake do.
pub(crate) const FAIL: &str = "fail!";
/// Fails behind the first token.
pub(crate) const BREAK: &str = "break!";

/// Says `says`, over and over where `endless`.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) says: String,
    pub(crate) endless: bool,
    /// RunningGenerations and embeddings that have ended.
    pub(crate) ended: AtomicUsize,
    /// RunningGenerations that nobody listened to any more.
    pub(crate) gone: AtomicUsize,
    pub(crate) asked: Mutex<Option<Generate>>,
}

impl Fake {
    pub(crate) fn saying(says: &str) -> Arc<Self> {
        Arc::new(Self {
            says: says.to_owned(),
            ..Self::default()
        })
    }

    async fn speak(&self, question: &Generate, tokens: &mpsc::Sender<u32>) -> Finish {
        let mut said = 0;
        loop {
            for byte in self.says.bytes() {
                if said == question.max_tokens && !self.endless {
                    return Finish::Length;
                }
                if tokens.send(fixture::byte(byte)).await.is_err() {
                    return Finish::Gone;
                }
                said += 1;
                tokio::task::yield_now().await;
            }
            if !self.endless {
                return Finish::Stop;
            }
        }
    }
}

fn broken() -> RequestError {
    RequestError::Own("the model broke".to_owned())
}

impl Model for Fake {
    fn generate(
        &self,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<Generated, RequestError>> {
        Box::pin(async move {
            let prompt = fixture::tokenizer().decode(&question.prompt).unwrap();
            *self.asked.lock().unwrap() = Some(question.clone());
            if prompt.contains(BREAK) {
                tokens.send(fixture::byte(b'x')).await.unwrap();
            }
            if prompt.contains(FAIL) || prompt.contains(BREAK) {
                return Err(broken());
            }
            let finish = self.speak(&question, &tokens).await;
            self.ended.fetch_add(1, Ordering::SeqCst);
            if finish == Finish::Gone {
                self.gone.fetch_add(1, Ordering::SeqCst);
            }
            Ok(Generated {
                report: Report::default(),
                tokens: 0,
                finish,
            })
        })
    }

    fn embed(
        &self,
        _: RequestOptions,
        _: Option<Vec<u16>>,
        ids: Vec<u32>,
        _: ClientHandle,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        Box::pin(async move {
            Ok(Embedded {
                report: Report::default(),
                embedding: vec![ids.len() as f32, 0.5, -1.0],
            })
        })
    }
}

/// A bundle's text, with the tokenizer of [`fixture`].
pub(crate) fn text(task: Task) -> BundleText {
    let input = fixture::input();
    let template = input.chat_template.clone().unwrap();
    BundleText::of(fixture::tokenizer(), input, task, Some(&template))
}

pub(crate) fn writer(model: Arc<Fake>) -> TextService {
    TextService::new(model, text(Task::Generation))
}

pub(crate) fn embedder() -> TextService {
    embedder_by(Fake::saying(""))
}

/// The same, with a model of one's own.
pub(crate) fn embedder_by(model: Arc<dyn Model>) -> TextService {
    let task = Task::Embedding(Embedding::plain(TextPooling::Mean, true));
    TextService::new(model, text(task))
}
