//! Generated texts as they come.

use std::time::Duration;

use astra_wire::{Control, Hello, MAX_TOKENS};

use super::cluster_client::{Client, encoded_for, parameters};
use super::error::ClientError;
use crate::cluster::membership::identity::printable;
use crate::cluster::request::response::GenerationResponse;
use crate::link::ReplyStream;
use crate::text::TextEvent;

/// Longest time for a whole text.
const LONGEST: Duration = Duration::from_secs(3600);
/// Longest time between two pieces of a text.
const BETWEEN: Duration = Duration::from_secs(60);

/// Pieces that may wait to be read: a text has no more tokens, and no token more than one piece.
const MAX_UNREAD: usize = MAX_TOKENS as usize + 1;

/// The text that a device generates. Dropping it does not end the generation; closing the [`Client`] does.
pub struct RemoteTextStream {
    replies: ReplyStream,
    device: String,
    /// Time for the next piece.
    within: Duration,
}

impl Client {
    /// Sends a request to generate to a device; the first text has to come within `first`. `ranges` as in [`Client::request`].
    ///
    /// # Errors
    /// The request cannot be sent.
    pub async fn request_text(
        &self,
        device: &Hello,
        request: &Control<'_>,
        ranges: &[u16],
        first: Duration,
    ) -> Result<RemoteTextStream, ClientError> {
        let bytes = encoded_for(device, request)?;
        let parameters = parameters(ranges);
        let replies =
            self.link
                .request_stream(device.device, &parameters, bytes, (LONGEST, MAX_UNREAD));
        Ok(RemoteTextStream {
            replies: replies.await?,
            device: device.name.as_str().to_owned(),
            within: first,
        })
    }
}

impl RemoteTextStream {
    /// The next event; there is none after the end.
    ///
    /// # Errors
    /// The device fails, goes away, or sends nothing for too long.
    pub async fn next(&mut self) -> Result<TextEvent, ClientError> {
        let reply = self.replies.next(self.within).await?;
        self.within = BETWEEN;
        let unreadable = |reason: &dyn std::fmt::Display| ClientError::Unreadable {
            device: self.device.clone(),
            reason: reason.to_string(),
        };
        let failed = |text: &str| ClientError::Failed {
            device: self.device.clone(),
            text: text.to_owned(),
        };
        let Some(reply) = reply else {
            return Err(failed("gone in the middle of its answer"));
        };
        match Control::parse(&reply) {
            Ok(Control::TextDelta { text }) => Ok(TextEvent::Delta(text.to_owned())),
            Ok(Control::GenerationResponse(answer)) => {
                let report = serde_json::from_str(answer.report);
                let response = GenerationResponse {
                    report: report.map_err(|error| unreadable(&error))?,
                    prompt_tokens: answer.prompt_tokens as usize,
                    tokens: answer.tokens as usize,
                    finish_reason: answer.finish_reason,
                };
                Ok(TextEvent::Finished(Box::new(response)))
            }
            Ok(Control::Failed { text }) => Err(failed(&printable(text))),
            Ok(_) => Err(unreadable(&"another message")),
            Err(error) => Err(unreadable(&error)),
        }
    }
}
