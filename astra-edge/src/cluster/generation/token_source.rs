//! Tokens as they are generated, on this device or on another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use astra_wire::{Control, DeviceId, MAX_TOKENS, Reason};
use tokio::sync::mpsc;

use crate::cluster::device::Device;
use crate::cluster::device::slot::PlanSlot;
use crate::cluster::member::outcome::PartOutcome;
use crate::cluster::session::cancel::{Cancellation, cancel};
use crate::gather::Gather;
use crate::generation::{GenerationJob, GenerationRequest, GenerationStats, Prefill};
use crate::link::ReplyStream;
use crate::worker::WorkerError;

/// Longest time between two tokens: far beyond what any device needs for one that can be waited for at all.
pub(crate) const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time a cancelled generation has to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The tokens of one generation. Dropping it does not end the generation.
pub(crate) struct TokenSource {
    events: mpsc::Receiver<TokenEvent>,
    canceller: Canceller,
}

/// A token, or the end of the tokens.
pub(crate) enum TokenEvent {
    Token(u32),
    Finished(Box<GenerationStats>),
    Refused(Reason),
    Failed(String),
}

/// How a generation is ended early.
enum Canceller {
    Local {
        cancelled: Arc<AtomicBool>,
        /// Where the prompt waits for other members, and the request.
        prefill: Option<(Arc<Gather>, u32)>,
    },
    Remote {
        device: Arc<Device>,
        other: DeviceId,
        of: Cancellation,
    },
}

impl TokenSource {
    /// Generates on this device; a prompt in a plan takes its `slot`. Ends early once `cancelled` is set.
    pub(crate) fn local(
        device: &Arc<Device>,
        request: GenerationRequest,
        prefill: Prefill,
        slot: Option<&PlanSlot>,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        let (sender, events) = mpsc::channel(room(request.params().max_tokens));
        let gather = slot.and_then(PlanSlot::gather);
        let canceller = Canceller::Local {
            cancelled: Arc::clone(&cancelled),
            prefill: match &prefill {
                Prefill::Plan { job, .. } => gather.map(|gather| (gather, job.request)),
                Prefill::Local | Prefill::Cached { .. } => None,
            },
        };
        let tokens = sender.clone();
        let job = GenerationJob {
            request,
            prefill,
            on_token: Box::new(move |token| tokens.try_send(TokenEvent::Token(token)).is_ok()),
            cancelled,
        };
        let device = Arc::clone(device);
        tokio::spawn(async move {
            let end = match device.worker.generate(job).await {
                Ok(stats) => TokenEvent::Finished(Box::new(stats)),
                Err(WorkerError::NotCached) => TokenEvent::Refused(Reason::UnknownPlan),
                Err(error) if error.is_unknown_plan() => TokenEvent::Refused(Reason::UnknownPlan),
                Err(error) => TokenEvent::Failed(error.to_string()),
            };
            // The receiver may be gone.
            let _ = sender.send(end).await;
        });
        Self { events, canceller }
    }

    /// Reads the replies of another device that generates at most `most` tokens; `of` names the generation.
    pub(crate) fn remote(
        device: &Arc<Device>,
        other: DeviceId,
        of: Cancellation,
        most: u32,
        replies: ReplyStream,
    ) -> Self {
        let (sender, events) = mpsc::channel(room(most));
        tokio::spawn(receive(replies, (of.plan, of.request), most, sender));
        let canceller = Canceller::Remote {
            device: Arc::clone(device),
            other,
            of,
        };
        Self { events, canceller }
    }

    /// The next event; `None` if there is none by `until`, or after the end.
    pub(crate) async fn next(&mut self, until: Instant) -> Option<TokenEvent> {
        let event = tokio::time::timeout_at(until.into(), self.events.recv());
        event.await.ok().flatten()
    }

    /// Ends the generation early.
    pub(crate) fn cancel(&self) {
        match &self.canceller {
            Canceller::Local { cancelled, prefill } => {
                cancelled.store(true, Ordering::Release);
                if let Some((gather, request)) = prefill {
                    gather.cancel(*request);
                }
            }
            Canceller::Remote { device, other, of } => cancel(device, *other, *of),
        }
    }

    /// Ends the generation early, and waits a moment for its statistics.
    pub(crate) async fn cancelled(&mut self) -> Option<Box<GenerationStats>> {
        self.cancel();
        let until = Instant::now() + END_TIMEOUT;
        loop {
            match self.next(until).await? {
                TokenEvent::Token(_) => {}
                TokenEvent::Finished(stats) => return Some(stats),
                TokenEvent::Refused(_) | TokenEvent::Failed(_) => return None,
            }
        }
    }
}

async fn receive(
    mut replies: ReplyStream,
    name: (u64, u32),
    most: u32,
    sender: mpsc::Sender<TokenEvent>,
) {
    let mut expected = 0;
    loop {
        // The reader of the source times out; Zenoh ends a query in the end too.
        let reply = tokio::select! {
            reply = replies.next(Duration::MAX) => reply,
            () = sender.closed() => return,
        };
        let event = match reply {
            Ok(Some(reply)) => read(&reply, name, &mut expected, most),
            Ok(None) => TokenEvent::Failed("it went away".to_owned()),
            Err(error) => TokenEvent::Failed(error.to_string()),
        };
        let more = matches!(event, TokenEvent::Token(_));
        if sender.send(event).await.is_err() || !more {
            return;
        }
    }
}

/// Room for all events of a generation of at most `tokens` tokens, its end included. No text has more than 65,536.
pub(crate) fn room(tokens: u32) -> usize {
    tokens.min(MAX_TOKENS) as usize + 1
}

fn read(reply: &[u8], name: (u64, u32), expected: &mut u32, most: u32) -> TokenEvent {
    match Control::parse(reply) {
        Ok(Control::Token { index, .. }) if index >= most => TokenEvent::Failed(format!(
            "token: found number {index}, expected at most {most}"
        )),
        Ok(Control::Token { index, id }) if index == *expected => {
            *expected += 1;
            TokenEvent::Token(id)
        }
        Ok(Control::Token { index, .. }) => {
            TokenEvent::Failed(format!("token: found number {index}, expected {expected}"))
        }
        Ok(Control::Finished(finished)) if (finished.plan, finished.request) == name => {
            TokenEvent::Finished(Box::new(GenerationStats::from(&finished)))
        }
        Ok(Control::Finished(_)) => TokenEvent::Failed("the end of another generation".to_owned()),
        other => match PartOutcome::of_other_reply(other) {
            PartOutcome::Refused(reason) => TokenEvent::Refused(reason),
            PartOutcome::Failed(text) | PartOutcome::Silent(text) => TokenEvent::Failed(text),
            PartOutcome::Share(..) => {
                TokenEvent::Failed("a message that is no reply to a generation request".to_owned())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use astra_wire::VERSION;

    use super::*;
    use crate::link::encode;

    #[test]
    fn a_stream_ends_with_the_first_token_that_is_not_the_next_or_too_many() {
        let token = |index| encode(VERSION, &Control::Token { index, id: 7 }).unwrap();
        let mut expected = 0;
        let mut read = |index| match read(&token(index), (1, 2), &mut expected, 2) {
            TokenEvent::Token(id) => Ok(id),
            TokenEvent::Failed(text) => Err(text),
            TokenEvent::Finished(_) | TokenEvent::Refused(_) => panic!("{index}"),
        };
        assert_eq!(read(0), Ok(7));
        assert_eq!(read(0).unwrap_err(), "token: found number 0, expected 1");
        assert_eq!(read(1), Ok(7));
        let error = read(2).unwrap_err();
        assert_eq!(error, "token: found number 2, expected at most 2");
        assert_eq!(room(u32::MAX), 65_537);
    }
}
