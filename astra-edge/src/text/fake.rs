//! A model of a few known answers, for tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::*;
use crate::cluster::request::client_handle::ClientHandle;
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::response::GenerationResponse;
use crate::generation::{FinishReason, GenerationRequest};
use crate::report::Report;
use astra_bundle::{Embedding, Task, TextPooling};
use astra_model::tasks::text::fixture;

/// What a prompt makes the fake do.
pub(crate) const FAIL: &str = "fail!";
/// Fails after the first token.
pub(crate) const BREAK: &str = "break!";

/// Says `says`, over and over where `endless`.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) says: String,
    pub(crate) endless: bool,
    /// Generations and embeddings that have ended.
    pub(crate) ended: AtomicUsize,
    /// Generations that were cancelled.
    pub(crate) cancelled: AtomicUsize,
    /// The last request, without its client.
    pub(crate) asked: Mutex<Option<(RequestContext, GenerationRequest)>>,
}

impl Fake {
    pub(crate) fn saying(says: &str) -> Arc<Self> {
        Arc::new(Self {
            says: says.to_owned(),
            ..Self::default()
        })
    }

    async fn send(&self, max_tokens: Option<usize>, tokens: &mpsc::Sender<u32>) -> FinishReason {
        let mut sent = 0;
        loop {
            for byte in self.says.bytes() {
                if max_tokens == Some(sent) && !self.endless {
                    return FinishReason::Length;
                }
                if tokens.send(fixture::byte(byte)).await.is_err() {
                    return FinishReason::Cancelled;
                }
                sent += 1;
                tokio::task::yield_now().await;
            }
            if !self.endless {
                return FinishReason::Stop;
            }
        }
    }
}

fn broken() -> RequestError {
    RequestError::Own("the model broke".to_owned())
}

impl TokenModel for Fake {
    fn generate(
        &self,
        context: RequestContext,
        request: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<GenerationResponse, RequestError>> {
        Box::pin(async move {
            let prompt = fixture::tokenizer().decode(&request.prompt).unwrap();
            let anonymous = RequestContext {
                client: ClientHandle::default(),
                ..context.clone()
            };
            *self.asked.lock().unwrap() = Some((anonymous, request.clone()));
            if prompt.contains(BREAK) {
                tokens.send(fixture::byte(b'x')).await.unwrap();
            }
            if prompt.contains(FAIL) || prompt.contains(BREAK) {
                return Err(broken());
            }
            let finish_reason = self.send(request.stop.max_tokens, &tokens).await;
            self.ended.fetch_add(1, Ordering::SeqCst);
            if finish_reason == FinishReason::Cancelled {
                self.cancelled.fetch_add(1, Ordering::SeqCst);
            }
            Ok(GenerationResponse {
                report: Report::default(),
                prompt_tokens: request.prompt.len(),
                tokens: 0,
                finish_reason,
            })
        })
    }

    fn embed(
        &self,
        _: RequestContext,
        ids: Vec<u32>,
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

/// The same, with another model.
pub(crate) fn embedder_by(model: Arc<dyn TokenModel>) -> TextService {
    let task = Task::Embedding(Embedding::plain(TextPooling::Mean, true));
    TextService::new(model, text(task))
}
