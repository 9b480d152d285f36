//! Questions in text: a prompt to go on from, or a text to make one vector of.

use astra_bundle::{Task, TextInput};
use astra_wire::AskOptions;
use tokio::sync::mpsc;

use super::asker::Asker;
use super::coordinator::{Coordinator, RequestError};
use super::prompt::Prompt;
use super::roster::Candidate;
use super::vector::Text;
pub use crate::generate::Finish;
use crate::report::Report;
use crate::tasks::text::sampling::Sampling;

/// A prompt to go on from.
#[derive(Clone, Debug)]
pub struct Generate {
    /// How it is to be answered; the deadline is that of the first token.
    pub options: AskOptions,
    /// Token ids of the prompt, special ones included.
    pub prompt: Vec<u32>,
    /// How each next token is chosen.
    pub sampling: Sampling,
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// Tokens of each member in the order of their names, behind those that every member computes; by speed if `None`.
    pub shares: Option<Vec<u16>>,
}

/// What a generation came to; its tokens were sent as they came.
#[derive(Clone, Debug)]
pub struct Generated {
    /// What it took.
    pub report: Report,
    /// Tokens generated, the one that ended it not counted.
    pub tokens: usize,
    /// Why it ended.
    pub finish: Finish,
}

/// A text as one vector.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// What it took.
    pub report: Report,
    /// The vector, of [`Embedding::width`](astra_bundle::Embedding::width) numbers.
    pub embedding: Vec<f32>,
}

/// The last text that was generated, and who has its keys and values.
#[derive(Clone, Debug)]
pub(super) struct Spoke {
    /// Where it was generated.
    pub(super) candidate: Candidate,
    /// Rung of the prompt's keys and values.
    pub(super) rung: u16,
    /// Prompt and what came of it.
    pub(super) tokens: Vec<u32>,
}

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
        let asked = self.asked(&question.options)?;
        let manifest = self.device().bundle().manifest();
        let text = match (&manifest.text, &manifest.task) {
            (Some(text), Task::Generation) => text,
            _ => {
                let wanted = "generate text";
                return Err(RequestError::Task { wanted });
            }
        };
        check(text, &question.prompt)?;
        let alone = question.options.alone;
        let class_tokens = manifest.shape.class_tokens;
        let work = Prompt::new(asked, class_tokens, question, tokens);
        let mut desk = self.turn(&asked, work.tokens.closed()).await?;
        let before = desk.spoke.take();
        let (generated, spoke) = if alone {
            self.alone(&work, "as asked".to_owned()).await?
        } else {
            match self.go_on(&work, before).await? {
                Some(reply) => reply,
                None => self.together(&mut desk, &work).await?,
            }
        };
        desk.spoke = Some(spoke);
        Ok(generated)
    }

    /// One text's vector; `ids` are its tokens, special ones included. An `asker` that goes before its turn has none.
    ///
    /// # Errors
    /// The model is not one that embeds, the text is empty or too long, the rung or the shares do not suit, or no member's
    /// share comes.
    pub async fn embed(
        &self,
        options: AskOptions,
        shares: Option<Vec<u16>>,
        ids: Vec<u32>,
        asker: &Asker,
    ) -> Result<Embedded, RequestError> {
        let asked = self.asked(&options)?;
        let manifest = self.device().bundle().manifest();
        let (text, embedding) = match (&manifest.text, &manifest.task) {
            (Some(text), Task::Embedding(embedding)) => (text, embedding),
            _ => {
                let wanted = "make vectors of texts";
                return Err(RequestError::Task { wanted });
            }
        };
        check(text, &ids)?;
        let work = Text::new(asked, shares, ids, embedding.clone());
        let mut desk = self.turn(&asked, asker.gone()).await?;
        if options.alone {
            return self.alone(&work, "as asked".to_owned()).await;
        }
        self.together(&mut desk, &work).await
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
