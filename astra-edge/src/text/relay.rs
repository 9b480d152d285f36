//! The tokens of one generation, to the text that its client gets.

use std::sync::Arc;

use astra_model::tasks::text::detokenizer::Detokenizer;
use astra_model::tasks::text::stop::StopStrings;
use tokio::sync::mpsc;

use super::{TextError, TextEvent, TokenModel};
use crate::cluster::request::context::RequestContext;
use crate::cluster::request::response::GenerationResponse;
use crate::generation::{FinishReason, GenerationRequest};

/// Capacity of the channel of tokens.
const CAPACITY: usize = 64;

/// Turns tokens into text for one client.
pub(crate) struct Relay {
    detokenizer: Detokenizer,
    stops: StopStrings,
    sender: mpsc::UnboundedSender<Result<TextEvent, TextError>>,
    tokens: usize,
}

/// Why no more tokens are passed on.
enum PassEnd {
    /// A stop string came.
    StopString,
    /// The tokens ended.
    TokensEnded,
    /// The client has gone.
    ClientGone,
}

impl Relay {
    pub(crate) fn new(
        detokenizer: Detokenizer,
        stops: StopStrings,
        sender: mpsc::UnboundedSender<Result<TextEvent, TextError>>,
    ) -> Self {
        Self {
            detokenizer,
            stops,
            sender,
            tokens: 0,
        }
    }

    /// Generates, and sends all events.
    pub(crate) async fn run(
        mut self,
        model: Arc<dyn TokenModel>,
        context: RequestContext,
        request: GenerationRequest,
    ) {
        let (tokens, coming) = mpsc::channel(CAPACITY);
        let generating = model.generate(context, request, tokens);
        let (generated, passed) = tokio::join!(generating, self.pass(coming));
        let ended = match (generated, passed) {
            (_, Ok(PassEnd::ClientGone)) => return,
            (Err(error), _) => Err(error.into()),
            (_, Err(error)) => Err(error),
            (Ok(response), Ok(end)) => Ok((response, matches!(end, PassEnd::StopString))),
        };
        let sender = self.sender.clone();
        let last = match ended {
            Ok((response, stopped)) => self.end(response, stopped),
            Err(error) => Err(error),
        };
        // The client may have gone by now.
        let _ = sender.send(last);
    }

    /// Passes text on until no more is wanted. Dropping `coming` ends the generation.
    async fn pass(&mut self, mut coming: mpsc::Receiver<u32>) -> Result<PassEnd, TextError> {
        loop {
            let token = tokio::select! {
                token = coming.recv() => token,
                () = self.sender.closed() => return Ok(PassEnd::ClientGone),
            };
            let Some(token) = token else {
                return Ok(PassEnd::TokensEnded);
            };
            self.tokens += 1;
            let piece = self.detokenizer.push(token)?;
            let passed = self.stops.push(&piece);
            if !self.send(passed.text) {
                return Ok(PassEnd::ClientGone);
            }
            if passed.stopped {
                return Ok(PassEnd::StopString);
            }
        }
    }

    /// The last event, after the text that was held back.
    fn end(self, response: GenerationResponse, mut stopped: bool) -> Result<TextEvent, TextError> {
        let Self {
            detokenizer,
            mut stops,
            sender,
            tokens,
        } = self;
        if !stopped {
            let passed = stops.push(&detokenizer.finish()?);
            stopped = passed.stopped;
            let rest = if stopped {
                String::new()
            } else {
                stops.finish()
            };
            let text = passed.text + &rest;
            if !text.is_empty() {
                let _ = sender.send(Ok(TextEvent::Delta(text)));
            }
        }
        let finish_reason = match response.finish_reason {
            FinishReason::Length if !stopped => FinishReason::Length,
            _ => FinishReason::Stop,
        };
        Ok(TextEvent::Finished(Box::new(GenerationResponse {
            tokens,
            finish_reason,
            ..response
        })))
    }

    /// Whether the client is still there.
    fn send(&self, text: String) -> bool {
        text.is_empty() || self.sender.send(Ok(TextEvent::Delta(text))).is_ok()
    }
}
