//! What a bundle has for text: its tokenizer and its chat template.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use astra_bundle::{Manifest, Task, TextInput};

use super::{Prompt, WordsError};
use crate::tasks::text::template::{ChatTemplate, TemplateError};
use crate::tasks::text::tokenizer::Tokenizer;

/// What [`Text::check`] asks for.
pub(super) const GENERATE: &str = "generate text";
/// What [`Text::check`] asks for.
pub(super) const EMBED: &str = "embed text";

/// A bundle's tokenizer and chat template.
pub struct Text {
    pub(super) input: TextInput,
    task: Task,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// What is wrong with it where it cannot be used.
    template: Option<Result<ChatTemplate, TemplateError>>,
}

impl Text {
    /// Opens what a bundle in `dir` has for text: nothing for models of images. With a chat template that cannot be used chats are
    /// refused.
    ///
    /// # Errors
    /// The tokenizer is refused.
    pub fn open(dir: &Path, manifest: &Manifest) -> Result<Option<Self>, WordsError> {
        let Some(input) = manifest.text.clone() else {
            return Ok(None);
        };
        let tokenizer = Tokenizer::open(dir, &input)?;
        let template = input.chat_template.clone();
        let task = manifest.task.clone();
        Ok(Some(Self::of(tokenizer, input, task, template.as_deref())))
    }

    /// Puts one together from its parts.
    pub(super) fn of(
        tokenizer: Tokenizer,
        input: TextInput,
        task: Task,
        template: Option<&str>,
    ) -> Self {
        let token = |token: &Option<String>| token.clone().unwrap_or_default();
        let (bos, eos) = (token(&input.bos_token), token(&input.eos_token));
        let template = template.map(|source| ChatTemplate::new(source, &bos, &eos));
        if let Some(Err(error)) = &template {
            tracing::warn!(%error, "chats are refused, prompts are not");
        }
        Self {
            template,
            tokenizer: Arc::new(tokenizer),
            task,
            input,
        }
    }

    /// The token ids of a prompt, checked.
    pub(super) fn ids(&self, prompt: &Prompt, most: usize) -> Result<Vec<u32>, WordsError> {
        let ids = match prompt {
            Prompt::Text(text) if text.is_empty() => return Err(WordsError::Empty),
            Prompt::Text(text) => self.tokenizer.encode(&self.prompted(text))?,
            Prompt::Chat(messages) if messages.is_empty() => return Err(WordsError::Empty),
            Prompt::Chat(messages) => {
                let template = self.template.as_ref().ok_or(WordsError::NoTemplate)?;
                let template = template.as_ref().map_err(TemplateError::clone)?;
                self.tokenizer.encode_as_is(&template.render(messages)?)?
            }
            Prompt::Tokens(ids) => ids.clone(),
        };
        let vocab = self.input.vocab;
        if let Some(found) = ids.iter().copied().find(|id| *id as usize >= vocab) {
            return Err(WordsError::UnknownToken { found, vocab });
        }
        match ids.len() {
            0 => Err(WordsError::Empty),
            found if found > most => Err(WordsError::TooLong { found, most }),
            _ => Ok(ids),
        }
    }

    /// A text with what the model wants put before every text.
    fn prompted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.task {
            Task::Embedding(embedding) if !embedding.prompt.is_empty() => {
                Cow::Owned(format!("{}{text}", embedding.prompt))
            }
            _ => Cow::Borrowed(text),
        }
    }

    pub(super) fn check(&self, wanted: &'static str) -> Result<(), WordsError> {
        let found = match self.task {
            Task::Generation => "it goes on from a prompt",
            Task::Embedding(_) => "it makes one vector of a text",
            Task::Saliency | Task::Features | Task::Classification { .. } => "it takes pictures",
        };
        let fits = match self.task {
            Task::Generation => wanted == GENERATE,
            Task::Embedding(_) => wanted == EMBED,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(WordsError::Task { wanted, found })
    }
}
