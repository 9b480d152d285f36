//! One request on a plan that is ready: input out, every member's share in.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, DeviceId, FrameError, Reason, Stats};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::assemble::Share;
use super::device::Device;
use super::hello::Why;
use super::part::{Part, read_share, share_of};
use super::seat::Seat;
use super::setup::{ActivePlan, others};
use crate::engine::OwnedInput;
use crate::job::Order;
use crate::plan::TokenRange;
use crate::worker::WorkerError;

/// Longest wait for members that were told to give up.
pub(super) const CANCEL_TIMEOUT: Duration = Duration::from_millis(500);

/// What came of a request, by member.
#[derive(Debug)]
pub struct Harvest {
    /// Shares that came.
    pub shares: Vec<Option<Share>>,
    /// Costs, and failures.
    pub accounts: Vec<Account>,
}

/// What a member cost, and why its share did not come.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// What it cost where it ran.
    pub stats: Stats,
    /// Bytes of its input on the wire.
    pub input_bytes: u64,
    /// Bytes of its share on the wire.
    pub result_bytes: u64,
    /// Why its share did not come.
    pub failure: Option<String>,
}

/// Why a request was given up everywhere.
#[derive(Debug)]
pub enum GivenUp {
    /// A member works on another request.
    Busy {
        /// The member.
        member: DeviceId,
        /// Whether nothing was lost until then: the plan can be used again.
        sound: bool,
    },
    /// A member no longer knows the plan.
    Stale {
        /// The member.
        member: DeviceId,
    },
    /// The member that the answer depends on failed, or is gone.
    Lost {
        /// The member.
        member: DeviceId,
        /// What became of it.
        why: Why,
    },
    /// This device's own part failed.
    Own(String),
}

/// How one member's part ended.
pub(super) enum End {
    Share(Share, Stats, u64),
    Refused(Reason),
    Failed(String),
    /// No answer: it is gone, or too late.
    Silent(String),
}

/// Runs one request whose answer is made of all members' shares: `input` is that of all tokens.
///
/// Ends at `until` at the latest, with the shares that came. Members that did not answer, or failed, are in the accounts.
///
/// # Errors
/// [`GivenUp`]: no member works on the request any more, or will.
pub async fn run(
    device: &Arc<Device>,
    active: &mut ActivePlan,
    input: &Arc<OwnedInput>,
    until: Instant,
) -> Result<Harvest, GivenUp> {
    let request = active.number_request();
    let active = &*active;
    let mut ends = begin(device, active, input, request, until, |_| true);
    let mut harvest = Harvest::new(active.choice.members.len());
    while let Ok(Some(end)) = tokio::time::timeout_at(until.into(), ends.join_next()).await {
        let Ok((number, input_bytes, end)) = end else {
            continue;
        };
        if let Err(given_up) = note(&mut harvest, active, number, input_bytes, end) {
            give_up(device, active, request, &mut ends).await;
            return Err(given_up);
        }
    }
    for (account, share) in harvest.accounts.iter_mut().zip(&harvest.shares) {
        if share.is_none() && account.failure.is_none() {
            account.failure = Some("no answer before the deadline".to_owned());
        }
    }
    Ok(harvest)
}

/// Begins the parts of those members that `takes` names. The own part begins when the input of all others is ready to be sent: they
/// all wait for each other's first codes, and it would take the processor from what the others' beginning waits for.
pub(super) fn begin(
    device: &Arc<Device>,
    active: &ActivePlan,
    input: &Arc<OwnedInput>,
    request: u32,
    until: Instant,
    takes: impl Fn(usize) -> bool,
) -> JoinSet<(usize, u64, End)> {
    let mut ends = JoinSet::new();
    let (unready, ready) = mpsc::channel(1);
    for (number, other) in others(&active.choice).filter(|(number, _)| takes(*number)) {
        let remote = Remote {
            device: Arc::clone(device),
            seat: Arc::clone(&active.seat),
            input: Arc::clone(input),
            number,
            other,
            request,
            until,
        };
        ends.spawn(remote_part(remote, unready.clone()));
    }
    drop(unready);
    if takes(active.choice.me) {
        ends.spawn(own_part(
            Arc::clone(device),
            Arc::clone(&active.seat),
            Arc::clone(input),
            request,
            until,
            ready,
        ));
    }
    ends
}

impl Harvest {
    /// Nothing yet, of so many members.
    pub(super) fn new(members: usize) -> Self {
        Self {
            shares: vec![None; members],
            accounts: vec![Account::default(); members],
        }
    }

    /// Whether every member did its part and had all codes of the others.
    pub(super) fn is_sound(&self) -> bool {
        let sound =
            |account: &Account| account.failure.is_none() && account.stats.masked_tokens == 0;
        self.accounts.iter().all(sound)
    }
}

/// Enters a part's end. A refusal ends the request: the others would wait for a member that never begins.
pub(super) fn note(
    harvest: &mut Harvest,
    active: &ActivePlan,
    number: usize,
    input_bytes: u64,
    end: End,
) -> Result<(), GivenUp> {
    let own = number == active.choice.me;
    let sound = harvest.is_sound();
    let member = active.choice.members.get(number).map(|m| m.device);
    let (Some(account), Some(place), Some(member)) = (
        harvest.accounts.get_mut(number),
        harvest.shares.get_mut(number),
        member,
    ) else {
        return Ok(());
    };
    account.input_bytes = input_bytes;
    match end {
        End::Share(share, stats, result_bytes) => {
            account.stats = stats;
            account.result_bytes = result_bytes;
            *place = Some(share);
        }
        End::Refused(Reason::Busy) => return Err(GivenUp::Busy { member, sound }),
        End::Refused(Reason::UnknownPlan) => return Err(GivenUp::Stale { member }),
        End::Failed(text) if own => return Err(GivenUp::Own(text)),
        End::Refused(reason) => absent(account, active, number, reason.to_string()),
        End::Failed(text) | End::Silent(text) => absent(account, active, number, text),
    }
    Ok(())
}

/// The own part stops waiting for a member that sends nothing more.
fn absent(account: &mut Account, active: &ActivePlan, number: usize, why: String) {
    account.failure = Some(why);
    active.seat.member_left(number);
}

/// Calls the request off everywhere and waits a moment, so that the next one finds members that are free.
pub(super) async fn give_up(
    device: &Arc<Device>,
    active: &ActivePlan,
    request: u32,
    ends: &mut JoinSet<(usize, u64, End)>,
) {
    active.seat.cancel(request);
    for (_, other) in others(&active.choice) {
        cancel(device, other, active.seat.plan.id, request);
    }
    let drained = async { while ends.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(CANCEL_TIMEOUT, drained).await;
}

/// Tells a device to give a request up, and does not wait for it.
pub(super) fn cancel(device: &Arc<Device>, other: DeviceId, plan: u64, request: u32) {
    let device = Arc::clone(device);
    tokio::spawn(async move {
        let message = Control::Cancel { plan, request };
        // Who is gone needs no telling.
        let _ = device.ask(other, &message, CANCEL_TIMEOUT).await;
    });
}

async fn own_part(
    device: Arc<Device>,
    seat: Arc<Seat>,
    input: Arc<OwnedInput>,
    request: u32,
    until: Instant,
    mut ready: mpsc::Receiver<Infallible>,
) -> (usize, u64, End) {
    // Ends when all have let go of the other side.
    ready.recv().await;
    let end = match own_order(&device, &seat, &input, request, until) {
        Some((_, order)) => match device.worker.run(seat.plan.id, order).await {
            Ok(outcome) => match share_of(&device, &seat, (request, until), outcome).await {
                Ok((share, stats)) => End::Share(share, stats, 0),
                Err(text) => End::Failed(text),
            },
            Err(WorkerError::UnknownPlan { .. }) => End::Refused(Reason::UnknownPlan),
            Err(error) => End::Failed(error.to_string()),
        },
        None => End::Failed("the plan does not fit the input".to_owned()),
    };
    (seat.me, 0, end)
}

/// This device's own order; `None` if the plan is not one for the input.
pub(super) fn own_order(
    device: &Device,
    seat: &Seat,
    input: &OwnedInput,
    request: u32,
    until: Instant,
) -> Option<(TokenRange, Order)> {
    let range = seat.range()?;
    let (tokens, total) = (range.indexes(), seat.plan.tokens());
    let own = input
        .borrow()
        .part(tokens, total, device.shape().class_tokens);
    let order = Order {
        request,
        deadline: until.saturating_duration_since(Instant::now()),
        input: own.ok()?,
    };
    Some((range, order))
}

/// What the part of another member needs.
struct Remote {
    device: Arc<Device>,
    seat: Arc<Seat>,
    input: Arc<OwnedInput>,
    number: usize,
    other: DeviceId,
    request: u32,
    until: Instant,
}

/// Sends a member its input and waits for its share; also says how many bytes went out. Lets go of `unready` when the input can be
/// sent.
async fn remote_part(remote: Remote, unready: mpsc::Sender<Infallible>) -> (usize, u64, End) {
    let number = remote.number;
    let plan = &remote.seat.plan;
    let Some(range) = plan.ranges.get(number).copied() else {
        let text = "the plan has no such member".to_owned();
        return (number, 0, End::Failed(text));
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
        Err(text) => return (number, 0, End::Failed(text)),
    };
    drop(unready);
    let sent = bytes.len() as u64;
    let link = &remote.device.link;
    let end = match link.ask_control(remote.other, "", bytes, left).await {
        Ok(answer) => read(&remote, &answer),
        Err(error) => End::Silent(error.to_string()),
    };
    (number, sent, end)
}

fn read(remote: &Remote, answer: &[u8]) -> End {
    match Control::parse(answer) {
        Ok(Control::Result(result))
            if result.plan == remote.seat.plan.id
                && result.request == remote.request
                && usize::from(result.member) == remote.number =>
        {
            match read_share(&remote.device, &remote.seat.plan.ranges, &result) {
                Ok(share) => End::Share(share, result.stats, answer.len() as u64),
                Err(text) => End::Failed(text),
            }
        }
        Ok(Control::Result(_)) => End::Failed("a share of another request".to_owned()),
        other => End::without_share(other),
    }
}

impl End {
    /// What an answer means that is not the one hoped for.
    pub(super) fn without_share(answer: Result<Control<'_>, FrameError>) -> Self {
        match answer {
            Ok(Control::Refuse { reason, .. }) => Self::Refused(reason),
            Ok(Control::Failed { text }) => Self::Failed(text.to_owned()),
            Ok(_) => Self::Failed("an answer that is none".to_owned()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

/// Sets members aside whose share did not come: they are asked again who they are before they are used again.
pub(super) fn set_aside(device: &Device, active: &ActivePlan, harvest: &Harvest) {
    for ((number, member), account) in
        (active.choice.members.iter().enumerate()).zip(&harvest.accounts)
    {
        if let Some(failure) = account
            .failure
            .as_ref()
            .filter(|_| number != active.choice.me)
        {
            let why = Why::Unreachable(failure.clone());
            device.roster().set_aside(member.device, why);
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
