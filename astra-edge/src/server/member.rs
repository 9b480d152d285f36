//! This device's part of another device's request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, Encoding, MemberResult, Reason, Resume, Start, StartText, unpack_ids};

use super::reply::Replies;
use crate::cluster::device::Device;
use crate::cluster::device::slot::PlanSlot;
use crate::cluster::generation::token_source::{TOKEN_TIMEOUT, TokenEvent, TokenSource};
use crate::cluster::member::execute::share_of;
use crate::cluster::member::share::PackedShare;
use crate::generation::{GenerationRequest, Prefill};
use crate::job::{Job, MAX_DEADLINE};
use crate::link::IncomingRequest;
use astra_model::engine::OwnedInput;
use astra_model::partition::TokenRange;
use astra_model::tasks::features::write_exact;
use astra_model::tasks::strip;

/// A part of an image.
pub(crate) async fn compute(device: &Arc<Device>, start: &Start<'_>, replies: Replies) -> Vec<u8> {
    let Ok(_engaged) = device.engaged.try_lock() else {
        return replies.refuse(start.plan, Reason::Busy);
    };
    let Some((slot, range)) = slot_in(device, start.plan, start.epoch) else {
        return replies.refuse(start.plan, Reason::UnknownPlan);
    };
    let Some(spec) = device.input else {
        return replies.failed(&"this device's model does not take images");
    };
    let input = start.input.to_vec();
    let pixels = tokio::task::spawn_blocking(move || strip::decode(&input, range, &spec)).await;
    let pixels = match pixels {
        Ok(Ok(pixels)) => pixels,
        Ok(Err(error)) => return replies.failed(&error),
        Err(error) => return replies.failed(&error),
    };
    let job = Job {
        request: start.request,
        deadline: deadline_of(start.deadline_ms),
        input: OwnedInput::Pixels(pixels),
    };
    run(device, &slot, job, replies).await
}

/// A part of a text, which may include generating its continuation.
pub(crate) async fn compute_text(
    device: &Arc<Device>,
    start: &StartText<'_>,
    incoming: &IncomingRequest,
    replies: Replies,
) {
    let answer = match device.engaged.try_lock() {
        Ok(_engaged) => text_part(device, start, incoming, replies).await,
        Err(_) => Some(replies.refuse(start.plan, Reason::Busy)),
    };
    if let Some(answer) = answer {
        incoming.reply(answer).await;
    }
}

/// The last reply, where it is not sent yet.
async fn text_part(
    device: &Arc<Device>,
    start: &StartText<'_>,
    incoming: &IncomingRequest,
    replies: Replies,
) -> Option<Vec<u8>> {
    let Some((slot, range)) = slot_in(device, start.plan, start.epoch) else {
        return Some(replies.refuse(start.plan, Reason::UnknownPlan));
    };
    let ids = match ids_of(device, start.ids) {
        Ok(ids) => ids,
        Err(text) => return Some(replies.failed(&text)),
    };
    let class_tokens = device.shape().class_tokens;
    let own = match start.generate {
        // The generating member owns the last tokens, but needs all of them to sample.
        Some(_) => {
            let input = OwnedInput::Ids(ids.clone());
            let part = input.borrow();
            match part.part(range.indexes(), slot.plan.tokens(), class_tokens) {
                Ok(own) => own,
                Err(error) => return Some(replies.failed(&error)),
            }
        }
        None => OwnedInput::Ids(ids.clone()),
    };
    let job = Job {
        request: start.request,
        deadline: deadline_of(start.deadline_ms),
        input: own,
    };
    let Some(generate) = start.generate else {
        return Some(run(device, &slot, job, replies).await);
    };
    let registered = device
        .generations
        .begin(start.plan, start.request, slot.secret);
    let prefill = Prefill::Plan {
        plan: start.plan,
        job,
    };
    let request = GenerationRequest::received(ids, &generate);
    let cancelled = Arc::clone(registered.stop());
    let source = TokenSource::local(device, request, prefill, Some(&slot), cancelled);
    let name = (start.plan, start.request, slot.me as u8);
    Some(send_tokens(device, source, name, incoming, replies).await)
}

/// Continues a text whose beginning is in this device's KV cache.
pub(crate) async fn resume(
    device: &Arc<Device>,
    resume: &Resume<'_>,
    incoming: &IncomingRequest,
    replies: Replies,
) {
    let answer = match device.engaged.try_lock() {
        Ok(_engaged) => 'answer: {
            let ids = match ids_of(device, resume.ids) {
                Ok(ids) => ids,
                Err(text) => break 'answer replies.failed(&text),
            };
            let registered = device
                .generations
                .begin(resume.plan, resume.request, resume.secret);
            let prefill = Prefill::Cached { rung: resume.rung };
            let request = GenerationRequest::received(ids, &resume.generate);
            let cancelled = Arc::clone(registered.stop());
            let source = TokenSource::local(device, request, prefill, None, cancelled);
            let name = (resume.plan, resume.request, 0);
            send_tokens(device, source, name, incoming, replies).await
        }
        Err(_) => replies.refuse(resume.plan, Reason::Busy),
    };
    incoming.reply(answer).await;
}

/// Sends each token as a reply of its own and returns the last reply. Ends early where the coordinator disconnects.
async fn send_tokens(
    device: &Arc<Device>,
    mut source: TokenSource,
    (plan, request, member): (u64, u32, u8),
    incoming: &IncomingRequest,
    replies: Replies,
) -> Vec<u8> {
    let gone = device.link().client_gone(incoming);
    tokio::pin!(gone);
    let mut index = 0;
    loop {
        // Only this device's own work is waited for; the coordinator has the time-out.
        let until = std::time::Instant::now() + TOKEN_TIMEOUT * 1000;
        let event = tokio::select! {
            event = source.next(until) => event,
            () = &mut gone => {
                tracing::debug!("the coordinator of a generation has disconnected");
                source.cancelled().await;
                return Vec::new();
            }
        };
        match event {
            Some(TokenEvent::Token(id)) => {
                let token = replies.message(&Control::Token { index, id });
                incoming.reply(token).await;
                index += 1;
            }
            Some(TokenEvent::Finished(stats)) => {
                let finished = Control::Finished(stats.finished(plan, request, member));
                return replies.message(&finished);
            }
            Some(TokenEvent::Refused(reason)) => return replies.refuse(plan, reason),
            Some(TokenEvent::Failed(text)) => return replies.failed(&text),
            None => return replies.failed(&"the generation did not end"),
        }
    }
}

/// Token ids of a message, no more than a text has and all of the vocabulary.
///
/// # Errors
/// As text for the coordinator.
fn ids_of(device: &Device, packed: &[u8]) -> Result<Vec<u32>, String> {
    let text = device.bundle().manifest().text.as_ref();
    let text = text.ok_or("found token ids, expected a model of text")?;
    read_ids(packed, text.max_tokens, text.vocab)
}

/// Reads at most `most` ids below `vocab`; before there is memory for them.
fn read_ids(packed: &[u8], most: usize, vocab: usize) -> Result<Vec<u32>, String> {
    let found = unpack_ids(packed).take(most + 1).count();
    if found > most {
        return Err(format!(
            "token ids: found more than {most}, expected no more"
        ));
    }
    if let Some(id) = unpack_ids(packed).find(|id| *id as usize >= vocab) {
        return Err(format!("token id: found {id}, expected less than {vocab}"));
    }
    Ok(unpack_ids(packed).collect())
}

/// The time of a part, whatever its message says.
fn deadline_of(milliseconds: u32) -> Duration {
    Duration::from_millis(milliseconds.into()).min(MAX_DEADLINE)
}

/// The slot in a plan, and its token range.
fn slot_in(device: &Device, plan: u64, epoch: u16) -> Option<(Arc<PlanSlot>, TokenRange)> {
    let slot = device.slots.find(plan)?;
    let range = slot.range()?;
    (slot.plan.epoch == epoch).then_some((slot, range))
}

/// Computes a part; returns the reply.
async fn run(device: &Arc<Device>, slot: &PlanSlot, job: Job, replies: Replies) -> Vec<u8> {
    let (plan, request) = (slot.plan.id, job.request);
    let until = Instant::now() + job.deadline;
    let outcome = match device.worker.run(plan, job).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_unknown_plan() => {
            return replies.refuse(plan, Reason::UnknownPlan);
        }
        Err(error) => return replies.failed(&error),
    };
    let (share, stats) = match share_of(device, slot, (request, until), outcome).await {
        Ok(share) => share,
        Err(text) => return replies.failed(&text),
    };
    let member = slot.me as u8;
    if device.bundle().manifest().family.is_text() {
        let mut cls = Vec::new();
        write_exact(&share.cls, &mut cls);
        replies.message(&Control::Result(MemberResult {
            plan,
            request,
            member,
            stats,
            encoding: Encoding::Float32,
            cls: &cls,
            features: &[],
            scales: &[],
        }))
    } else {
        let (hidden, exact) = (device.shape().hidden, slot.plan.rung == 0);
        let rows = device.rows(&slot.plan.ranges);
        let lines = rows.map(|(_, lines)| lines).unwrap_or_default();
        match PackedShare::new(&share, hidden, lines, exact) {
            Ok(packed) => replies.message(&Control::Result(
                packed.message(plan, request, member, stats),
            )),
            Err(error) => replies.failed(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_many_and_as_large_as_the_model_takes() {
        assert_eq!(read_ids(&[1, 2, 3], 3, 4), Ok(vec![1, 2, 3]));
        let error = read_ids(&[1, 2, 3], 2, 4).unwrap_err();
        assert!(error.contains("more than 2"), "{error}");
        let error = read_ids(&[1, 4], 3, 4).unwrap_err();
        assert!(error.contains("found 4, expected less than 4"), "{error}");
    }

    #[test]
    fn no_part_has_more_time_than_a_request() {
        assert_eq!(deadline_of(u32::MAX), MAX_DEADLINE);
        assert_eq!(deadline_of(500), Duration::from_millis(500));
    }
}
