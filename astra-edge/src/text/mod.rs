//! Questions in words: text in, text out, where [`crate::cluster::request::text`] knows token ids alone.
//!
//! The device that is asked divides the text into tokens, and puts those that come back run_distributed. A stop string, or an asker
//! that has gone, ends the generation wherever it runs, by nobody taking its tokens any more.

mod bundle_text;
mod error;
mod relay;

use std::sync::Arc;

use astra_wire::RequestOptions;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

pub use bundle_text::BundleText;
pub use error::TextError;

use bundle_text::{EMBED, GENERATE};
use relay::Relay;

use crate::cluster::request::client_handle::ClientHandle;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::generate::{Generate, Generated};
use crate::report::Report;
use astra_model::tasks::text::detokenizer::Detokenizer;
use astra_model::tasks::text::sampling::Sampling;
use astra_model::tasks::text::stop::StopStrings;
use astra_model::tasks::text::template::Message;

/// Answers questions in token ids: a cluster, or one machine.
pub trait Model: Send + Sync + 'static {
    /// See [`Coordinator::generate`].
    fn generate(
        &self,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<Generated, RequestError>>;

    /// See [`Coordinator::embed`].
    fn embed(
        &self,
        options: RequestOptions,
        shares: Option<Vec<u16>>,
        ids: Vec<u32>,
        asker: ClientHandle,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>>;
}

impl Model for Coordinator {
    fn generate(
        &self,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<Generated, RequestError>> {
        Box::pin(self.generate(question, tokens))
    }

    fn embed(
        &self,
        options: RequestOptions,
        shares: Option<Vec<u16>>,
        ids: Vec<u32>,
        asker: ClientHandle,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        Box::pin(async move { self.embed(options, shares, ids, &asker).await })
    }
}

/// What a generation goes on from, or an embedding is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// The messages of a chat, for the model's template.
    Chat(Vec<Message>),
    /// Token ids, special ones included.
    Tokens(Vec<u32>),
}

/// A question to go on from a prompt.
#[derive(Clone, Debug)]
pub struct Ask {
    /// How it is to be answered.
    pub options: RequestOptions,
    /// Tokens of each member, where the asker says so.
    pub shares: Option<Vec<u16>>,
    /// What to go on from.
    pub prompt: Prompt,
    /// How each next token is chosen.
    pub sampling: Sampling,
    /// Strings that end the text, and are no part of it.
    pub stops: Vec<String>,
    /// Most tokens to generate; as many as the model's longest text holds if `None`.
    pub max_tokens: Option<usize>,
}

/// A text that is being written. Dropping it ends the generation.
pub struct Writing {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    events: mpsc::UnboundedReceiver<Result<Event, TextError>>,
}

/// What comes of a question.
#[derive(Clone, Debug)]
pub enum Event {
    /// More text; never empty, never half a character.
    Piece(String),
    /// The end.
    End(Box<Ended>),
}

/// What a text took.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What it took.
    pub report: Report,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated for it.
    pub tokens: usize,
    /// Whether the model's longest text or the asker's limit ended it, rather than the model or a stop string.
    pub cut: bool,
}

/// Answers questions in words.
pub struct TextService {
    model: Arc<dyn Model>,
    text: Arc<BundleText>,
}

impl TextService {
    /// Answers with `model`.
    pub fn new(model: Arc<dyn Model>, text: BundleText) -> Self {
        Self {
            model,
            text: Arc::new(text),
        }
    }

    /// Most tokens of a text, special ones counted.
    pub fn max_tokens(&self) -> usize {
        self.text.input.max_tokens
    }

    /// Goes on from a prompt, for an asker whose place is taken up until nothing works on it any more. The text comes as it is
    /// written.
    ///
    /// # Errors
    /// The question is refused; what goes wrong later comes as an event.
    pub async fn write(&self, ask: Ask, asker: ClientHandle) -> Result<Writing, TextError> {
        self.text.check(GENERATE)?;
        ask.sampling.check()?;
        let stops = StopStrings::new(ask.stops)?;
        if ask.max_tokens == Some(0) {
            return Err(TextError::NoTokens);
        }
        // One token at least has to find room behind it.
        let most = self.max_tokens().saturating_sub(1);
        let ids = self.ids(ask.prompt, most).await?;
        let room = self.max_tokens().saturating_sub(ids.len());
        let question = Generate {
            options: ask.options,
            prompt: ids,
            sampling: ask.sampling,
            max_tokens: ask.max_tokens.map_or(room, |wanted| wanted.min(room)),
            shares: ask.shares,
        };
        // A slow reader must not hold up the cluster; how much can come is bounded by the model's longest text.
        let (sender, events) = mpsc::unbounded_channel();
        let prompt_tokens = question.prompt.len();
        let detokenizer = Detokenizer::new(Arc::clone(&self.text.tokenizer), &question.prompt);
        let relay = Relay::new(detokenizer, stops, sender);
        // In a task of its own: dropped half-way, a request would leave members at work that nobody waits for.
        let model = Arc::clone(&self.model);
        tokio::spawn(async move {
            relay.run(model, question).await;
            drop(asker);
        });
        Ok(Writing {
            prompt_tokens,
            events,
        })
    }

    /// One text's vector, and its number of tokens. The asker is as in [`write`](Self::write); if it goes before its turn it has none.
    ///
    /// # Errors
    /// The question is refused, or the model fails.
    pub async fn embed(
        &self,
        options: RequestOptions,
        shares: Option<Vec<u16>>,
        prompt: Prompt,
        asker: ClientHandle,
    ) -> Result<(Embedded, usize), TextError> {
        self.text.check(EMBED)?;
        let ids = self.ids(prompt, self.max_tokens()).await?;
        let tokens = ids.len();
        let model = Arc::clone(&self.model);
        let embedding = tokio::spawn(async move { model.embed(options, shares, ids, asker).await });
        let embedded = embedding.await;
        let embedded = embedded.map_err(|error| TextError::Stopped(error.to_string()))??;
        Ok((embedded, tokens))
    }

    /// The token ids of many prompts to embed, special ones included, all checked before the first is computed.
    ///
    /// # Errors
    /// The first prompt that is refused, by its place among them.
    pub async fn tokens(&self, prompts: Vec<Prompt>) -> Result<Vec<Vec<u32>>, (usize, TextError)> {
        self.text.check(EMBED).map_err(|error| (0, error))?;
        let (text, most) = (Arc::clone(&self.text), self.max_tokens());
        let divide = move || {
            let prompts = prompts.into_iter().enumerate();
            prompts
                .map(|(place, prompt)| text.ids(&prompt, most).map_err(|error| (place, error)))
                .collect()
        };
        let divided = tokio::task::spawn_blocking(divide).await;
        divided.map_err(|error| (0, TextError::Stopped(error.to_string())))?
    }

    async fn ids(&self, prompt: Prompt, most: usize) -> Result<Vec<u32>, TextError> {
        let text = Arc::clone(&self.text);
        // A long text takes a while.
        let ids = tokio::task::spawn_blocking(move || text.ids(&prompt, most)).await;
        ids.map_err(|error| TextError::Stopped(error.to_string()))?
    }
}

impl Writing {
    /// What comes next; `None` after the end.
    pub async fn next(&mut self) -> Option<Result<Event, TextError>> {
        self.events.recv().await
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
