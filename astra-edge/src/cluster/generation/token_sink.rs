//! Tokens passed on to whoever asked for them, until they end.

use std::time::{Duration, Instant};

use astra_wire::Reason;
use tokio::sync::mpsc;

use crate::cluster::generation::token_source::{
    GenerationStats, TOKEN_TIMEOUT, TokenEvent, TokenSource,
};
use crate::cluster::session::cancel::Abort;
use crate::generate::Finish;

/// A generation as it was heard.
pub(crate) struct ReceivedTokens {
    /// What it came to where it ran; `None` where it did not say so in time, once nobody wanted more of it.
    pub(crate) stats: Option<Box<GenerationStats>>,
    pub(crate) finish: Finish,
    /// The tokens.
    pub(crate) ids: Vec<u32>,
    /// When the first came, and the last.
    pub(crate) first: Option<Instant>,
    pub(crate) last: Option<Instant>,
}

/// Why tokens stopped coming.
pub(crate) enum StreamError {
    /// The device does not generate.
    Refused(Reason),
    /// It failed or went away, behind so many tokens.
    Failed { text: String, tokens: usize },
    /// Another member takes no part.
    Abort(Abort),
}

/// Passes tokens on. The first has to come before `until`, where there is such a time.
pub(crate) async fn listen(
    source: &mut TokenSource,
    tokens: &mpsc::Sender<u32>,
    until: Option<Instant>,
) -> Result<ReceivedTokens, StreamError> {
    let mut heard = ReceivedTokens {
        stats: None,
        finish: Finish::Gone,
        ids: Vec::new(),
        first: None,
        last: None,
    };
    loop {
        let limit = match (heard.last, until) {
            (Some(last), _) => last + TOKEN_TIMEOUT,
            (None, Some(until)) => until,
            // Nothing but this device's own work is waited for.
            (None, None) => Instant::now() + Duration::from_secs(24 * 3600),
        };
        let said = tokio::select! {
            biased;
            () = tokens.closed() => return Ok(heard.ended(source).await),
            said = source.next(limit) => said,
        };
        match said {
            Some(TokenEvent::Token(id)) => {
                let now = Instant::now();
                heard.first.get_or_insert(now);
                heard.last = Some(now);
                heard.ids.push(id);
                // A reader that takes no token for so long has gone for good.
                let passed_on = tokens.send_timeout(id, TOKEN_TIMEOUT).await;
                if passed_on.is_err() {
                    return Ok(heard.ended(source).await);
                }
            }
            Some(TokenEvent::Ended(stats)) => {
                heard.finish = stats.finish;
                heard.stats = Some(stats);
                return Ok(heard);
            }
            Some(TokenEvent::Refused(reason)) => return Err(StreamError::Refused(reason)),
            Some(TokenEvent::Failed(text)) => return Err(heard.failed(text)),
            None => {
                source.stop();
                let text = match heard.last {
                    Some(_) => format!("no token for {} s", TOKEN_TIMEOUT.as_secs()),
                    None => "no token before the deadline".to_owned(),
                };
                return Err(heard.failed(text));
            }
        }
    }
}

impl ReceivedTokens {
    /// Whether nobody wanted it any more before there was a token.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.ids.is_empty() && self.finish == Finish::Gone
    }

    async fn ended(mut self, source: &mut TokenSource) -> Self {
        self.stats = source.end().await;
        self.finish = Finish::Gone;
        self
    }

    fn failed(self, text: String) -> StreamError {
        StreamError::Failed {
            text,
            tokens: self.ids.len(),
        }
    }
}
