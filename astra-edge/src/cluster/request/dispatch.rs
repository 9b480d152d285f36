//! One request on a plan: sends each member its input and collects the shares.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use astra_wire::{Control, DeviceId, Reason};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::device::Device;
use crate::cluster::device::slot::PlanSlot;
use crate::cluster::member::execute::share_of;
use crate::cluster::member::outcome::PartOutcome;
use crate::cluster::request::collected::{Collected, note};
use crate::cluster::request::part::{Part, read_share};
use crate::cluster::session::cancel::{Abort, CANCEL_TIMEOUT, cancel};
use crate::cluster::session::set_up::{ActivePlan, others};
use crate::job::Job;
use astra_model::engine::OwnedInput;
use astra_model::partition::TokenRange;

/// Runs one request whose answer is combined from all members' shares; `input` is that of all tokens.
///
/// Ends at `until` at the latest, with the shares that arrived; the accounts say which members failed or did not reply.
///
/// # Errors
/// [`Abort`]: the request was cancelled on all members.
pub async fn run(
    device: &Arc<Device>,
    active: &mut ActivePlan,
    input: &Arc<OwnedInput>,
    until: Instant,
) -> Result<Collected, Abort> {
    let request = active.number_request();
    let active = &*active;
    let mut ends = begin(device, active, input, request, until, |_| true);
    let mut collected = Collected::new(active.placement.members.len());
    while let Ok(Some(end)) = tokio::time::timeout_at(until.into(), ends.join_next()).await {
        let Ok((number, input_bytes, end)) = end else {
            continue;
        };
        if let Err(abort) = note(&mut collected, active, number, input_bytes, end) {
            give_up(device, active, request, &mut ends).await;
            return Err(abort);
        }
    }
    for (account, share) in collected.accounts.iter_mut().zip(&collected.shares) {
        if share.is_none() && account.failure.is_none() {
            account.failure = Some("no reply before the deadline".to_owned());
        }
    }
    Ok(collected)
}

/// Begins the parts of those members that `takes` selects. This device's part begins when the input of all others is encoded: members
/// wait for each other's first codes, so computing earlier would only take processor time from encoding.
pub(crate) fn begin(
    device: &Arc<Device>,
    active: &ActivePlan,
    input: &Arc<OwnedInput>,
    request: u32,
    until: Instant,
    takes: impl Fn(usize) -> bool,
) -> JoinSet<(usize, u64, PartOutcome)> {
    let mut ends = JoinSet::new();
    let (unready, ready) = mpsc::channel(1);
    for (number, other) in others(&active.placement).filter(|(number, _)| takes(*number)) {
        let remote = Remote {
            device: Arc::clone(device),
            slot: Arc::clone(&active.slot),
            input: Arc::clone(input),
            number,
            other,
            request,
            until,
        };
        ends.spawn(remote_part(remote, unready.clone()));
    }
    drop(unready);
    if takes(active.placement.me) {
        ends.spawn(own_part(
            Arc::clone(device),
            Arc::clone(&active.slot),
            Arc::clone(input),
            request,
            until,
            ready,
        ));
    }
    ends
}

/// Cancels the request on all members and waits a moment, so that the next request finds them free.
pub(crate) async fn give_up(
    device: &Arc<Device>,
    active: &ActivePlan,
    request: u32,
    ends: &mut JoinSet<(usize, u64, PartOutcome)>,
) {
    active.slot.cancel(request);
    for (_, other) in others(&active.placement) {
        cancel(device, other, active.slot.cancellation(request));
    }
    let drained = async { while ends.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(CANCEL_TIMEOUT, drained).await;
}

async fn own_part(
    device: Arc<Device>,
    slot: Arc<PlanSlot>,
    input: Arc<OwnedInput>,
    request: u32,
    until: Instant,
    mut ready: mpsc::Receiver<Infallible>,
) -> (usize, u64, PartOutcome) {
    // Ends when the last sender is dropped.
    ready.recv().await;
    let end = match own_order(&device, &slot, &input, request, until) {
        Some((_, order)) => match device.worker.run(slot.plan.id, order).await {
            Ok(outcome) => match share_of(&device, &slot, (request, until), outcome).await {
                Ok((share, stats)) => PartOutcome::Share(share, stats, 0),
                Err(text) => PartOutcome::Failed(text),
            },
            Err(error) if error.is_unknown_plan() => PartOutcome::Refused(Reason::UnknownPlan),
            Err(error) => PartOutcome::Failed(error.to_string()),
        },
        None => PartOutcome::Failed("the plan does not fit the input".to_owned()),
    };
    (slot.me, 0, end)
}

/// This device's part of the input; `None` if the plan does not fit the input.
pub(crate) fn own_order(
    device: &Device,
    slot: &PlanSlot,
    input: &OwnedInput,
    request: u32,
    until: Instant,
) -> Option<(TokenRange, Job)> {
    let range = slot.range()?;
    let (tokens, total) = (range.indexes(), slot.plan.tokens());
    let own = input
        .borrow()
        .part(tokens, total, device.shape().class_tokens);
    let order = Job {
        request,
        deadline: until.saturating_duration_since(Instant::now()),
        input: own.ok()?,
    };
    Some((range, order))
}

/// One member's part, computed on another device.
struct Remote {
    device: Arc<Device>,
    slot: Arc<PlanSlot>,
    input: Arc<OwnedInput>,
    number: usize,
    other: DeviceId,
    request: u32,
    until: Instant,
}

/// Sends a member its input and waits for its share. Returns the member's number, the bytes sent and the outcome; drops `unready` when
/// the input is encoded.
async fn remote_part(
    remote: Remote,
    unready: mpsc::Sender<Infallible>,
) -> (usize, u64, PartOutcome) {
    let number = remote.number;
    let plan = &remote.slot.plan;
    let Some(range) = plan.ranges.get(number).copied() else {
        let text = "the plan has no such member".to_owned();
        return (number, 0, PartOutcome::Failed(text));
    };
    let left = remote.until.saturating_duration_since(Instant::now());
    let part = Part {
        plan: Arc::clone(plan),
        range,
        request: remote.request,
        deadline: left,
    };
    let bytes = match part.message(&remote.device, &remote.input).await {
        Ok(bytes) => bytes,
        Err(text) => return (number, 0, PartOutcome::Failed(text)),
    };
    drop(unready);
    let sent = bytes.len() as u64;
    let link = remote.device.link();
    let end = match link.request(remote.other, "", bytes, left).await {
        Ok(answer) => read(&remote, &answer),
        Err(error) => PartOutcome::Silent(error.to_string()),
    };
    (number, sent, end)
}

fn read(remote: &Remote, answer: &[u8]) -> PartOutcome {
    match Control::parse(answer) {
        Ok(Control::Result(result))
            if result.plan == remote.slot.plan.id
                && result.request == remote.request
                && usize::from(result.member) == remote.number =>
        {
            match read_share(&remote.device, &remote.slot.plan.ranges, &result) {
                Ok(share) => PartOutcome::Share(share, result.stats, answer.len() as u64),
                Err(text) => PartOutcome::Failed(text),
            }
        }
        Ok(Control::Result(_)) => PartOutcome::Failed("a share of another request".to_owned()),
        other => PartOutcome::of_other_reply(other),
    }
}
