//! Texts as they are written.

use std::time::Duration;

use astra_wire::{Control, FinishReason, Hello};

use super::cluster_client::{Client, encoded_for, parameters};
use super::error::ClientError;
use crate::link::Answers;
use crate::text::{Ended, Event};

/// Longest that a text may take.
const LONGEST: Duration = Duration::from_secs(3600);
/// Longest between two pieces of a text.
const BETWEEN: Duration = Duration::from_secs(60);

/// A text that a device is writing. Dropping it stops listening; leaving the network ends the text.
pub struct Answering {
    answers: Answers,
    device: String,
    /// Time for the next piece.
    within: Duration,
}

impl Client {
    /// Puts a question in words to a device, whose answer comes in pieces: the first of them within `first`. `ranges` as in
    /// [`Client::ask`].
    ///
    /// # Errors
    /// The question cannot be sent.
    pub async fn ask_text(
        &self,
        device: &Hello,
        question: &Control<'_>,
        ranges: &[u16],
        first: Duration,
    ) -> Result<Answering, ClientError> {
        let bytes = encoded_for(device, question)?;
        let parameters = parameters(ranges);
        let asked = self
            .link
            .ask_stream(device.device, &parameters, bytes, LONGEST);
        Ok(Answering {
            answers: asked.await?,
            device: device.name.as_str().to_owned(),
            within: first,
        })
    }
}

impl Answering {
    /// What comes next; nothing comes after the end.
    ///
    /// # Errors
    /// The device cannot answer, goes away, or says nothing for too long.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        let answer = self.answers.next(self.within).await?;
        self.within = BETWEEN;
        let unreadable = |reason: &dyn std::fmt::Display| ClientError::Unreadable {
            device: self.device.clone(),
            reason: reason.to_string(),
        };
        let failed = |text: &str| ClientError::Failed {
            device: self.device.clone(),
            text: text.to_owned(),
        };
        let Some(answer) = answer else {
            return Err(failed("gone in the middle of its answer"));
        };
        match Control::parse(&answer) {
            Ok(Control::TextDelta { text }) => Ok(Event::Piece(text.to_owned())),
            Ok(Control::GenerationResponse(answer)) => {
                let report = serde_json::from_str(answer.report);
                let ended = Ended {
                    report: report.map_err(|error| unreadable(&error))?,
                    prompt_tokens: answer.prompt_tokens as usize,
                    tokens: answer.tokens as usize,
                    cut: answer.finish_reason == FinishReason::Length,
                };
                Ok(Event::End(Box::new(ended)))
            }
            Ok(Control::Failed { text }) => Err(failed(text)),
            Ok(_) => Err(unreadable(&"another message")),
            Err(error) => Err(unreadable(&error)),
        }
    }
}
