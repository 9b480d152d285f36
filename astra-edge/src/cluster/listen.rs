//! Tokens passed on to whoever asked for them, until they end.

use std::time::{Duration, Instant};

use astra_wire::Reason;
use tokio::sync::mpsc;

use super::request::GivenUp;
use super::speaker::{Said, Speaker, Spoken, TOKEN_TIMEOUT};
use crate::generate::Finish;

/// A generation as it was heard.
pub(super) struct Heard {
    /// What it came to where it ran; `None` where it did not say so in time, once nobody wanted more of it.
    pub(super) spoken: Option<Box<Spoken>>,
    pub(super) finish: Finish,
    /// The tokens.
    pub(super) ids: Vec<u32>,
    /// When the first came, and the last.
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
}

/// Why tokens stopped coming.
pub(super) enum Broken {
    /// The device does not generate.
    Refused(Reason),
    /// It failed or went away, behind so many tokens.
    Failed { text: String, tokens: usize },
    /// Another member takes no part.
    GivenUp(GivenUp),
}

/// Passes tokens on. The first has to come before `until`, where there is such a time.
pub(super) async fn listen(
    speaker: &mut Speaker,
    tokens: &mpsc::Sender<u32>,
    until: Option<Instant>,
) -> Result<Heard, Broken> {
    let mut heard = Heard {
        spoken: None,
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
            () = tokens.closed() => return Ok(heard.ended(speaker).await),
            said = speaker.next(limit) => said,
        };
        match said {
            Some(Said::Token(id)) => {
                let now = Instant::now();
                heard.first.get_or_insert(now);
                heard.last = Some(now);
                heard.ids.push(id);
                // A reader that takes no token for so long has gone for good.
                let passed_on = tokens.send_timeout(id, TOKEN_TIMEOUT).await;
                if passed_on.is_err() {
                    return Ok(heard.ended(speaker).await);
                }
            }
            Some(Said::Ended(spoken)) => {
                heard.finish = spoken.finish;
                heard.spoken = Some(spoken);
                return Ok(heard);
            }
            Some(Said::Refused(reason)) => return Err(Broken::Refused(reason)),
            Some(Said::Failed(text)) => return Err(heard.failed(text)),
            None => {
                speaker.stop();
                let text = match heard.last {
                    Some(_) => format!("no token for {} s", TOKEN_TIMEOUT.as_secs()),
                    None => "no token before the deadline".to_owned(),
                };
                return Err(heard.failed(text));
            }
        }
    }
}

impl Heard {
    /// Whether nobody wanted it any more before there was a token.
    pub(super) fn is_unwanted(&self) -> bool {
        self.ids.is_empty() && self.finish == Finish::Gone
    }

    async fn ended(mut self, speaker: &mut Speaker) -> Self {
        self.spoken = speaker.end().await;
        self.finish = Finish::Gone;
        self
    }

    fn failed(self, text: String) -> Broken {
        Broken::Failed {
            text,
            tokens: self.ids.len(),
        }
    }
}
