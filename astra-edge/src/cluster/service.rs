//! Answers the control messages of others.

use std::sync::Arc;

use astra_wire::{Answer, Control, FrameError, Offer, Reason};
use tokio::sync::{Semaphore, mpsc};

use super::asker::Asker;
use super::coordinator::Coordinator;
use super::device::{Device, encode};
use super::picture::Question;
use super::words::Words;
use super::{asked, discovery, member};
use crate::link::Incoming;
use crate::tasks::features::write_exact;

/// Clients' questions that are worked on or wait; beyond these a client is sent away. What devices send each other is answered at once.
const QUESTIONS: usize = 16;

/// What every message is answered with.
struct Reception {
    coordinator: Arc<Coordinator>,
    words: Option<Arc<Words>>,
    places: Arc<Semaphore>,
}

/// Answers messages until the session ends, each in a task of its own.
pub async fn serve(
    coordinator: Arc<Coordinator>,
    words: Option<Arc<Words>>,
    mut messages: mpsc::Receiver<Incoming>,
) {
    let reception = Arc::new(Reception {
        coordinator,
        words,
        places: Arc::new(Semaphore::new(QUESTIONS)),
    });
    while let Some(mut incoming) = messages.recv().await {
        let reception = Arc::clone(&reception);
        tokio::spawn(async move {
            let bytes = incoming.take_bytes();
            if let Some(answer) = reception.answer(&incoming, bytes).await {
                incoming.answer(answer);
            }
        });
    }
}

impl Reception {
    /// The answer to one message, if it wants one.
    async fn answer(&self, incoming: &Incoming, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let words = self.words.as_ref();
        let question = match Control::parse(&bytes) {
            Ok(Control::AskText(ask)) => {
                let link = self.coordinator.device().link();
                return Some(match self.place() {
                    Ok(asker) => asked::text(words, link, incoming, &ask, asker).await,
                    Err(refusal) => refusal,
                });
            }
            Ok(Control::AskVector(ask)) => {
                return Some(match self.place() {
                    Ok(asker) => asked::vector(words, incoming, &ask, asker).await,
                    Err(refusal) => refusal,
                });
            }
            Ok(Control::Ask(ask)) => match self.place() {
                Ok(asker) => Question {
                    options: ask.options,
                    shares: (incoming.parameter("ranges").map(parse_shares)).unwrap_or_default(),
                    image: ask.image.to_vec(),
                    asker,
                },
                Err(refusal) => return Some(refusal),
            },
            other => return self.between_devices(incoming, other).await,
        };
        // As large as the picture, and not for as long as the answer takes.
        drop(bytes);
        Some(ask_here(&self.coordinator, question).await)
    }

    /// A client's place among those whose questions are worked on.
    ///
    /// # Errors
    /// There is none; what the client is told.
    fn place(&self) -> Result<Asker, Vec<u8>> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map(Asker::at).map_err(|_| {
            failed(&format!(
                "{QUESTIONS} questions are being worked on, and no more are taken; try again later"
            ))
        })
    }

    /// The answer to what devices send each other, if it wants one.
    async fn between_devices(
        &self,
        incoming: &Incoming,
        message: Result<Control<'_>, FrameError>,
    ) -> Option<Vec<u8>> {
        let device = self.coordinator.device();
        let answer = match message {
            Ok(Control::Offer(offer)) => encode(&accept(device, &offer).await),
            Ok(Control::Plan { plan, epoch }) => encode(&sound(device, plan, epoch).await),
            Ok(Control::Start(start)) => return Some(member::compute(device, &start).await),
            Ok(Control::StartText(start)) => {
                member::compute_text(device, &start, incoming).await;
                return None;
            }
            Ok(Control::Resume(resume)) => {
                member::resume(device, &resume, incoming).await;
                return None;
            }
            Ok(Control::Cancel { plan, request }) => {
                if let Some(seat) = device.seats.find(plan) {
                    seat.cancel(request);
                }
                device.generations.cancel(plan, request);
                encode(&Control::Heard { plan, members: 0 })
            }
            Ok(Control::Halo(halo)) => {
                if let Err(error) = device.take_halo(&halo) {
                    return Some(failed(&error.to_string()));
                }
                let (plan, members) = (halo.plan, 0);
                encode(&Control::Heard { plan, members })
            }
            Ok(Control::Leave { device: other }) => {
                discovery::gone(device, other);
                return None;
            }
            Ok(_) => return Some(failed("this message is no question")),
            Err(FrameError::Version { .. }) => encode(&Control::Refuse {
                plan: 0,
                reason: Reason::OtherVersion,
            }),
            Err(error) => return Some(failed(&error.to_string())),
        };
        answer
            .map_err(|error| tracing::error!(%error, "an answer cannot be written"))
            .ok()
    }
}

/// `100,80,76`; anything else gives no shares at all, which no input divides into.
pub(super) fn parse_shares(text: &str) -> Option<Vec<u16>> {
    let shares: Result<_, _> = text.split(',').map(|share| share.trim().parse()).collect();
    Some(shares.unwrap_or_default())
}

async fn accept(device: &Arc<Device>, offer: &Offer) -> Control<'static> {
    let plan = offer.plan;
    let Ok(_engaged) = device.engaged.try_lock() else {
        let reason = Reason::Busy;
        return Control::Refuse { plan, reason };
    };
    match device.take_seat(offer).await {
        Ok(_) => Control::Accept {
            plan,
            member: offer.you,
        },
        Err(reason) => Control::Refuse { plan, reason },
    }
}

async fn sound(device: &Arc<Device>, plan: u64, epoch: u16) -> Control<'static> {
    let reason = match device.seats.find(plan) {
        Some(seat) if seat.plan.epoch == epoch => match seat.sound().await {
            Ok(members) => return Control::Heard { plan, members },
            Err(error) => {
                tracing::debug!(%error, "a probe was not sent");
                Reason::Internal
            }
        },
        _ => Reason::UnknownPlan,
    };
    Control::Refuse { plan, reason }
}

async fn ask_here(coordinator: &Arc<Coordinator>, question: Question) -> Vec<u8> {
    let reply = match coordinator.answer(question).await {
        Ok(reply) => reply,
        Err(error) => return failed(&error.to_string()),
    };
    let report = match serde_json::to_string(&reply.report) {
        Ok(report) => report,
        Err(error) => return failed(&error.to_string()),
    };
    let (mut map, mut cls) = (Vec::new(), Vec::new());
    write_exact(&reply.answer.cls, &mut cls);
    let (mut width, mut height) = (0, 0);
    if let Some(found) = &reply.answer.map {
        // A map with a side beyond 65,535 would not be of an image that was accepted.
        width = u16::try_from(found.width).unwrap_or(0);
        height = u16::try_from(found.height).unwrap_or(0);
        write_exact(&found.values, &mut map);
    }
    let answer = Control::Answer(Answer {
        report: &report,
        width,
        height,
        map: &map,
        cls: &cls,
    });
    encode(&answer).unwrap_or_else(|error| failed(&error.to_string()))
}

pub(super) fn failed(text: &str) -> Vec<u8> {
    encode(&Control::Failed { text }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_between_commas() {
        assert_eq!(parse_shares("100,80,76"), Some(vec![100, 80, 76]));
        assert_eq!(parse_shares(" 1 , 2"), Some(vec![1, 2]));
        // What is no list of shares is refused when the tokens are divided.
        assert_eq!(parse_shares("100,80,x"), Some(vec![]));
        assert_eq!(parse_shares(""), Some(vec![]));
    }
}
