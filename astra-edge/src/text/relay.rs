//! Tokens of one generation to the text that its asker gets.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::cluster::request::generate::{Finish, Generate, Generated};
use crate::text::{Ended, Event, Model, TextError};
use astra_model::tasks::text::detokenizer::Detokenizer;
use astra_model::tasks::text::stop::StopStrings;

/// Tokens that may be on their way from the model.
const TOKENS: usize = 64;

/// Turns tokens into text for one asker.
pub(crate) struct Relay {
    detokenizer: Detokenizer,
    stops: StopStrings,
    sender: mpsc::UnboundedSender<Result<Event, TextError>>,
    tokens: usize,
}

/// How a relay ended.
enum Passing {
    /// A stop string came.
    Stopped,
    /// The tokens ended.
    Ended,
    /// The asker has gone.
    Gone,
}

impl Relay {
    pub(crate) fn new(
        detokenizer: Detokenizer,
        stops: StopStrings,
        sender: mpsc::UnboundedSender<Result<Event, TextError>>,
    ) -> Self {
        Self {
            detokenizer,
            stops,
            sender,
            tokens: 0,
        }
    }

    /// From the question to the last event.
    pub(crate) async fn run(mut self, model: Arc<dyn Model>, question: Generate) {
        let (tokens, coming) = mpsc::channel(TOKENS);
        let prompt_tokens = question.prompt.len();
        let (generated, passing) =
            tokio::join!(model.generate(question, tokens), self.pass(coming));
        let ended = match (generated, passing) {
            (_, Ok(Passing::Gone)) => return,
            (Err(error), _) => Err(error.into()),
            (_, Err(error)) => Err(error),
            (Ok(generated), Ok(passing)) => Ok((generated, matches!(passing, Passing::Stopped))),
        };
        let sender = self.sender.clone();
        let last = match ended {
            Ok((generated, stopped)) => self.end(generated, prompt_tokens, stopped),
            Err(error) => Err(error),
        };
        // Whoever asked may have gone by now.
        let _ = sender.send(last);
    }

    /// Passes text on until nobody wants more of it. Dropping `coming` is what ends the generation.
    async fn pass(&mut self, mut coming: mpsc::Receiver<u32>) -> Result<Passing, TextError> {
        loop {
            let token = tokio::select! {
                token = coming.recv() => token,
                () = self.sender.closed() => return Ok(Passing::Gone),
            };
            let Some(token) = token else {
                return Ok(Passing::Ended);
            };
            self.tokens += 1;
            let piece = self.detokenizer.push(token)?;
            let passed = self.stops.push(&piece);
            if !self.send(passed.text) {
                return Ok(Passing::Gone);
            }
            if passed.stopped {
                return Ok(Passing::Stopped);
            }
        }
    }

    fn end(
        self,
        generated: Generated,
        prompt_tokens: usize,
        stopped: bool,
    ) -> Result<Event, TextError> {
        let Self {
            detokenizer,
            mut stops,
            sender,
            tokens,
        } = self;
        let mut stopped = stopped;
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
                let _ = sender.send(Ok(Event::Piece(text)));
            }
        }
        Ok(Event::End(Box::new(Ended {
            report: generated.report,
            prompt_tokens,
            tokens,
            cut: !stopped && generated.finish == Finish::Length,
        })))
    }

    /// Whether the asker is still there.
    fn send(&self, text: String) -> bool {
        text.is_empty() || self.sender.send(Ok(Event::Piece(text))).is_ok()
    }
}
