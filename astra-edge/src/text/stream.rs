//! Generated text as it comes.

use tokio::sync::mpsc;

use crate::cluster::request::response::GenerationResponse;
use crate::text::TextError;

/// The text of one generation. Dropping it ends the generation.
pub struct TextStream {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    pub(super) events: mpsc::UnboundedReceiver<Result<TextEvent, TextError>>,
}

/// More text, or its end.
#[derive(Clone, Debug)]
pub enum TextEvent {
    /// More text; never empty, and never ends within a character.
    Delta(String),
    /// The end.
    Finished(Box<GenerationResponse>),
}

impl TextStream {
    /// The next event; `None` after the end.
    pub async fn next(&mut self) -> Option<Result<TextEvent, TextError>> {
        self.events.recv().await
    }
}
