//! Generations and embeddings of texts.

use std::sync::Arc;

use astra_model::tasks::text::detokenizer::Detokenizer;
use astra_model::tasks::text::sampling;
use astra_model::tasks::text::stop::StopStrings;
use tokio::sync::mpsc;

use super::bundle_text::{EMBED, GENERATE};
use super::relay::Relay;
use super::{BundleText, Prompt, TextError, TextStream, TokenModel};
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::embedding::Embedded;
use crate::generation::{GenerationRequest, StopConditions};

/// Generates text, or embeds it, with one model.
pub struct TextService {
    model: Arc<dyn TokenModel>,
    text: Arc<BundleText>,
}

impl TextService {
    /// Runs on `model`.
    pub fn new(model: Arc<dyn TokenModel>, text: BundleText) -> Self {
        Self {
            model,
            text: Arc::new(text),
        }
    }

    /// Most tokens of a text, special ones counted.
    pub fn max_tokens(&self) -> usize {
        self.text.input.max_tokens
    }

    /// Continues a prompt. The client's place is taken until nothing works on the request any more.
    ///
    /// # Errors
    /// The request is refused; later failures come as an event.
    pub async fn generate(
        &self,
        context: RequestContext,
        request: GenerationRequest<Prompt>,
    ) -> Result<TextStream, TextError> {
        self.text.check(GENERATE)?;
        let GenerationRequest {
            prompt,
            sampling,
            stop,
        } = request;
        sampling::check(&sampling)?;
        let stop_strings = StopStrings::new(stop.strings)?;
        if stop.max_tokens == Some(0) {
            return Err(TextError::NoTokens);
        }
        // At least one token has to fit after the prompt.
        let most = self.max_tokens().saturating_sub(1);
        let prompt = self.ids(prompt, most).await?;
        let room = self.max_tokens().saturating_sub(prompt.len());
        let max_tokens = stop.max_tokens.map_or(room, |wanted| wanted.min(room));
        let request = GenerationRequest {
            prompt,
            sampling,
            stop: StopConditions::after(max_tokens),
        };
        // A slow reader must not hold up the cluster; how much can come is bounded by the model's longest text.
        let (sender, events) = mpsc::unbounded_channel();
        let prompt_tokens = request.prompt.len();
        let detokenizer = Detokenizer::new(Arc::clone(&self.text.tokenizer), &request.prompt);
        let relay = Relay::new(detokenizer, stop_strings, sender);
        // In a task of its own: dropped half-way, a request would leave members at work without a coordinator.
        let model = Arc::clone(&self.model);
        tokio::spawn(async move {
            let client = context.client.clone();
            relay.run(model, context, request).await;
            drop(client);
        });
        Ok(TextStream {
            prompt_tokens,
            events,
        })
    }

    /// The embedding of a text, and its number of tokens. The client's place is taken as in [`generate`](Self::generate).
    ///
    /// # Errors
    /// The request is refused, the model fails, or the client is gone before the request's turn.
    pub async fn embed(
        &self,
        context: RequestContext,
        prompt: Prompt,
    ) -> Result<(Embedded, usize), TextError> {
        self.text.check(EMBED)?;
        let ids = self.ids(prompt, self.max_tokens()).await?;
        let tokens = ids.len();
        let model = Arc::clone(&self.model);
        let embedding = tokio::spawn(async move { model.embed(context, ids).await });
        let embedded = embedding.await;
        let embedded = embedded.map_err(|error| TextError::Stopped(error.to_string()))??;
        Ok((embedded, tokens))
    }

    /// The token ids of several texts to embed, special ones included, all checked before the first is computed.
    ///
    /// # Errors
    /// The first text that is refused, with its index.
    pub async fn tokens(&self, prompts: Vec<Prompt>) -> Result<Vec<Vec<u32>>, (usize, TextError)> {
        self.text.check(EMBED).map_err(|error| (0, error))?;
        let (text, most) = (Arc::clone(&self.text), self.max_tokens());
        let tokenize = move || {
            let prompts = prompts.into_iter().enumerate();
            prompts
                .map(|(index, prompt)| text.ids(&prompt, most).map_err(|error| (index, error)))
                .collect()
        };
        let tokenized = tokio::task::spawn_blocking(tokenize).await;
        tokenized.map_err(|error| (0, TextError::Stopped(error.to_string())))?
    }

    async fn ids(&self, prompt: Prompt, most: usize) -> Result<Vec<u32>, TextError> {
        let text = Arc::clone(&self.text);
        // A long text takes a while.
        let ids = tokio::task::spawn_blocking(move || text.ids(&prompt, most)).await;
        ids.map_err(|error| TextError::Stopped(error.to_string()))?
    }
}
