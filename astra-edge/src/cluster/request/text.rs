//! Requests whose input is text: a generation, or an embedding.

use astra_bundle::{Task, TextInput};
use tokio::sync::mpsc;

use crate::cluster::request::context::RequestContext;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::embedding::{Embedded, EmbeddingWork};
use crate::cluster::request::error::RequestError;
use crate::cluster::request::prompt::GenerationWork;
use crate::cluster::request::response::GenerationResponse;
use crate::generation::GenerationRequest;

impl Coordinator {
    /// Computes a prompt across members; the member with its last tokens then generates, and each token id is sent to `tokens` as it
    /// comes. Dropping the receiver ends the generation early. A prompt that begins with the text generated before continues from the
    /// KV cache.
    ///
    /// # Errors
    /// The model does not generate, the prompt is empty or too long, the rung or the tokens of the members do not suit, or the
    /// generating device fails.
    pub async fn generate(
        &self,
        context: RequestContext,
        request: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> Result<GenerationResponse, RequestError> {
        let limits = self.limits(&context)?;
        let manifest = self.device().bundle().manifest();
        let text = match (&manifest.text, &manifest.task) {
            (Some(text), Task::Generation) => text,
            _ => {
                let wanted = "generate text";
                return Err(RequestError::Task { wanted });
            }
        };
        check(text, &request.prompt)?;
        let class_tokens = manifest.shape.class_tokens;
        let by_member = context.tokens_per_member.clone();
        let work = GenerationWork::new(limits, class_tokens, by_member, request, tokens);
        let mut state = self.turn(&limits, work.tokens.closed()).await?;
        let cached = state.conversation.take();
        let owner = context.client.owner();
        let own = cached.as_ref().is_some_and(|cached| cached.owner == owner);
        let (mut response, mut conversation) = if context.options.local {
            self.run_local(&work, "as requested".to_owned()).await?
        } else {
            match self.continue_conversation(&work, cached).await? {
                Some(reply) => reply,
                None => self.run_distributed(&mut state, &work).await?,
            }
        };
        // How much of a prompt was in the cache would tell what another client wrote.
        if !own && response.report.reused_tokens.is_some() {
            response.report.reused_tokens = Some(0);
        }
        conversation.owner = owner;
        state.conversation = Some(conversation);
        Ok(response)
    }

    /// The embedding of a text; `ids` are its tokens, special ones included.
    ///
    /// # Errors
    /// The model does not embed, the text is empty or too long, the rung or the tokens of the members do not suit, the client is gone
    /// before its turn, or no member's share comes.
    pub async fn embed(
        &self,
        context: RequestContext,
        ids: Vec<u32>,
    ) -> Result<Embedded, RequestError> {
        let limits = self.limits(&context)?;
        let manifest = self.device().bundle().manifest();
        let (text, embedding) = match (&manifest.text, &manifest.task) {
            (Some(text), Task::Embedding(embedding)) => (text, embedding),
            _ => {
                let wanted = "embed text";
                return Err(RequestError::Task { wanted });
            }
        };
        check(text, &ids)?;
        let by_member = context.tokens_per_member.clone();
        let work = EmbeddingWork::new(limits, by_member, ids, embedding.clone());
        let mut state = self.turn(&limits, context.client.gone()).await?;
        if context.options.local {
            return self.run_local(&work, "as requested".to_owned()).await;
        }
        self.run_distributed(&mut state, &work).await
    }
}

fn check(text: &TextInput, ids: &[u32]) -> Result<(), RequestError> {
    if ids.is_empty() {
        return Err(RequestError::Empty);
    }
    if ids.len() > text.max_tokens {
        return Err(RequestError::TooLong {
            found: ids.len(),
            most: text.max_tokens,
        });
    }
    let unknown = ids.iter().find(|id| **id as usize >= text.vocab);
    match unknown {
        Some(&found) => Err(RequestError::UnknownToken {
            found,
            vocab: text.vocab,
        }),
        None => Ok(()),
    }
}
