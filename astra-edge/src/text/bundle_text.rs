//! What a bundle has for text: its tokenizer and its chat template.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use astra_bundle::{Manifest, Task, TextInput};

use crate::text::{Prompt, TextError};
use astra_model::tasks::text::template::{ChatTemplate, TemplateError};
use astra_model::tasks::text::tokenizer::Tokenizer;

/// A task of [`BundleText::check`].
pub(crate) const GENERATE: &str = "generate text";
/// A task of [`BundleText::check`].
pub(crate) const EMBED: &str = "embed text";

/// A bundle's tokenizer and chat template.
pub struct BundleText {
    pub(crate) input: TextInput,
    task: Task,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// What is wrong with it where it cannot be used.
    template: Option<Result<ChatTemplate, TemplateError>>,
}

impl BundleText {
    /// Opens what a bundle in `dir` has for text: nothing for models of images. With a chat template that cannot be used chats are
    /// refused.
    ///
    /// # Errors
    /// The tokenizer is refused.
    pub fn open(dir: &Path, manifest: &Manifest) -> Result<Option<Self>, TextError> {
        let Some(input) = manifest.text.clone() else {
            return Ok(None);
        };
        let tokenizer = Tokenizer::open(dir, &input)?;
        let template = input.chat_template.clone();
        let task = manifest.task.clone();
        Ok(Some(Self::of(tokenizer, input, task, template.as_deref())))
    }

    /// Makes one of its parts.
    pub(crate) fn of(
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
    pub(crate) fn ids(&self, prompt: &Prompt, most: usize) -> Result<Vec<u32>, TextError> {
        let ids = match prompt {
            Prompt::Text(text) if text.is_empty() => return Err(TextError::Empty),
            Prompt::Text(text) => self.tokenizer.encode(&self.prompted(text))?,
            Prompt::Chat(messages) if messages.is_empty() => return Err(TextError::Empty),
            Prompt::Chat(messages) => {
                let template = self.template.as_ref().ok_or(TextError::NoTemplate)?;
                let template = template.as_ref().map_err(TemplateError::clone)?;
                self.tokenizer.encode_as_is(&template.render(messages)?)?
            }
            Prompt::Tokens(ids) => ids.clone(),
        };
        let vocab = self.input.vocab;
        if let Some(found) = ids.iter().copied().find(|id| *id as usize >= vocab) {
            return Err(TextError::UnknownToken { found, vocab });
        }
        match ids.len() {
            0 => Err(TextError::Empty),
            found if found > most => Err(TextError::TooLong { found, most }),
            _ => Ok(ids),
        }
    }

    /// A text after the prefix that the model wants before every text.
    fn prompted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.task {
            Task::Embedding(embedding) if !embedding.prompt.is_empty() => {
                Cow::Owned(format!("{}{text}", embedding.prompt))
            }
            _ => Cow::Borrowed(text),
        }
    }

    pub(crate) fn check(&self, wanted: &'static str) -> Result<(), TextError> {
        let found = match self.task {
            Task::Generation => "it generates text",
            Task::Embedding(_) => "it embeds text",
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
        Err(TextError::Task { wanted, found })
    }
}
