//! Tokens passed on to the client as they are generated.

use std::time::{Duration, Instant};

use astra_wire::Reason;
use tokio::sync::mpsc;

use crate::cluster::generation::token_source::{TOKEN_TIMEOUT, TokenEvent, TokenSource};
use crate::cluster::session::cancel::Abort;
use crate::generation::{FinishReason, GenerationStats};

/// Longest wait for a token where nothing but this device's own work is waited for.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// The tokens of a generation that has ended.
pub(crate) struct ReceivedTokens {
    /// `None` if the generation was cancelled and its statistics did not come in time.
    pub(crate) stats: Option<Box<GenerationStats>>,
    pub(crate) finish_reason: FinishReason,
    /// The tokens.
    pub(crate) ids: Vec<u32>,
    /// When the first token came.
    pub(crate) first: Option<Instant>,
    /// When the last token came.
    pub(crate) last: Option<Instant>,
}

/// Why there are no more tokens.
pub(crate) enum StreamError {
    /// The device refused to generate.
    Refused(Reason),
    /// It failed or went away after this number of tokens.
    Failed { text: String, tokens: usize },
    /// The attempt was given up for another member.
    Abort(Abort),
}

/// Passes tokens on until they end; a client that does not take them cancels the generation. The first has to come before `until`, if
/// given.
pub(crate) async fn forward(
    source: &mut TokenSource,
    client: &mpsc::Sender<u32>,
    until: Option<Instant>,
) -> Result<ReceivedTokens, StreamError> {
    let mut received = ReceivedTokens {
        stats: None,
        finish_reason: FinishReason::Cancelled,
        ids: Vec::new(),
        first: None,
        last: None,
    };
    loop {
        let limit = match (received.last, until) {
            (Some(last), _) => last + TOKEN_TIMEOUT,
            (None, Some(until)) => until,
            (None, None) => Instant::now() + LOCAL_TIMEOUT,
        };
        let event = tokio::select! {
            biased;
            () = client.closed() => return Ok(received.cancelled(source).await),
            event = source.next(limit) => event,
        };
        match event {
            Some(TokenEvent::Token(id)) => {
                let now = Instant::now();
                received.first.get_or_insert(now);
                received.last = Some(now);
                received.ids.push(id);
                let sent = client.send_timeout(id, TOKEN_TIMEOUT).await;
                if sent.is_err() {
                    return Ok(received.cancelled(source).await);
                }
            }
            Some(TokenEvent::Finished(stats)) => {
                received.finish_reason = stats.finish_reason;
                received.stats = Some(stats);
                return Ok(received);
            }
            Some(TokenEvent::Refused(reason)) => return Err(StreamError::Refused(reason)),
            Some(TokenEvent::Failed(text)) => return Err(received.failed(text)),
            None => {
                source.cancel();
                let text = match received.last {
                    Some(_) => format!("no token for {} s", TOKEN_TIMEOUT.as_secs()),
                    None => "no token before the deadline".to_owned(),
                };
                return Err(received.failed(text));
            }
        }
    }
}

impl ReceivedTokens {
    /// Whether the generation was cancelled before its first token.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.ids.is_empty() && self.finish_reason == FinishReason::Cancelled
    }

    async fn cancelled(mut self, source: &mut TokenSource) -> Self {
        self.stats = source.cancelled().await;
        self.finish_reason = FinishReason::Cancelled;
        self
    }

    fn failed(self, text: String) -> StreamError {
        StreamError::Failed {
            text,
            tokens: self.ids.len(),
        }
    }
}
