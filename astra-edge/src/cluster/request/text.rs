//! Questions in text: a prompt to go on from, or a text to make one vector of.

use astra_bundle::{Task, TextInput};
use astra_wire::RequestOptions;
use tokio::sync::mpsc;

use crate::cluster::request::client_handle::ClientHandle;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::embedding::{Embedded, Text};
use crate::cluster::request::error::RequestError;
use crate::cluster::request::generate::{Generate, Generated};
use crate::cluster::request::prompt::Prompt;

impl Coordinator {
    /// Computes the prompt across members; the member with its last tokens then generates, and each token id is sent to
    /// `tokens` as it comes. Dropping the receiver ends the generation early. A prompt that begins with the text generated
    /// before goes on from there.
    ///
    /// # Errors
    /// The model is not one that generates, the prompt is empty or too long, the rung or the shares do not suit, or the
    /// generating device fails.
    pub async fn generate(
        &self,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> Result<Generated, RequestError> {
        let limits = self.limits(&question.options)?;
        let manifest = self.device().bundle().manifest();
        let text = match (&manifest.text, &manifest.task) {
            (Some(text), Task::Generation) => text,
            _ => {
                let wanted = "generate text";
                return Err(RequestError::Task { wanted });
            }
        };
        check(text, &question.prompt)?;
        let alone = question.options.local;
        let class_tokens = manifest.shape.class_tokens;
        let work = Prompt::new(limits, class_tokens, question, tokens);
        let mut state = self.turn(&limits, work.tokens.closed()).await?;
        let before = state.conversation.take();
        let (generated, conversation) = if alone {
            self.run_local(&work, "as asked".to_owned()).await?
        } else {
            match self.continue_conversation(&work, before).await? {
                Some(reply) => reply,
                None => self.run_distributed(&mut state, &work).await?,
            }
        };
        state.conversation = Some(conversation);
        Ok(generated)
    }

    /// One text's vector; `ids` are its tokens, special ones included. An `asker` that goes before its turn has none.
    ///
    /// # Errors
    /// The model is not one that embeds, the text is empty or too long, the rung or the shares do not suit, or no member's
    /// share comes.
    pub async fn embed(
        &self,
        options: RequestOptions,
        shares: Option<Vec<u16>>,
        ids: Vec<u32>,
        asker: &ClientHandle,
    ) -> Result<Embedded, RequestError> {
        let limits = self.limits(&options)?;
        let manifest = self.device().bundle().manifest();
        let (text, embedding) = match (&manifest.text, &manifest.task) {
            (Some(text), Task::Embedding(embedding)) => (text, embedding),
            _ => {
                let wanted = "make vectors of texts";
                return Err(RequestError::Task { wanted });
            }
        };
        check(text, &ids)?;
        let work = Text::new(limits, shares, ids, embedding.clone());
        let mut state = self.turn(&limits, asker.gone()).await?;
        if options.local {
            return self.run_local(&work, "as asked".to_owned()).await;
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
