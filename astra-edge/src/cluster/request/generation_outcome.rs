//! What the end of a generation means for the request and its report.

use std::time::{Duration, Instant};

use astra_wire::{Control, Reason};
use tokio::task::JoinSet;

use crate::cluster::generation::token_sink::{ReceivedTokens, StreamError};
use crate::cluster::member::outcome::PartOutcome;
use crate::cluster::membership::hello::Rejection;
use crate::cluster::membership::roster::Candidate;
use crate::cluster::request::collected::{Account, Collected, note};
use crate::cluster::request::distributed::Attempted;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::summary;
use crate::cluster::session::cancel::Abort;
use crate::cluster::session::set_up::ActivePlan;
use crate::report::MemberReport;

/// Time for the other members' statistics once the text is there.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// What the failure of the generating `member` means for the request; `own` if it is this device.
pub(crate) fn attempted<R>(
    error: StreamError,
    member: &Candidate,
    own: bool,
    intact: bool,
) -> Result<Attempted<R>, RequestError> {
    let device = member.device;
    let abort = match error {
        StreamError::Abort(abort) => abort,
        StreamError::Refused(Reason::Busy) => Abort::Busy {
            member: device,
            intact,
        },
        StreamError::Refused(Reason::UnknownPlan) => Abort::Stale { member: device },
        StreamError::Refused(reason) => Abort::Lost {
            member: device,
            why: Rejection::Refused(reason.to_string()),
        },
        StreamError::Failed { text, tokens: 0 } if own => Abort::Own(text),
        // The client has no token yet: another device can start from the beginning.
        StreamError::Failed { text, tokens: 0 } => Abort::Lost {
            member: device,
            why: Rejection::Unreachable(text),
        },
        StreamError::Failed { text, tokens } => return Err(broke_off(member, tokens, text)),
    };
    Ok(Attempted::Abort(abort))
}

/// The failure of a generation of which the client has some tokens.
pub(crate) fn broke_off(member: &Candidate, tokens: usize, text: String) -> RequestError {
    RequestError::BrokeOff {
        member: member.name.clone(),
        tokens,
        text,
    }
}

/// The failure of a generation on this device.
pub(crate) fn own_failure(error: StreamError) -> RequestError {
    match error {
        StreamError::Failed { text, .. } => RequestError::Own(text),
        StreamError::Refused(reason) => RequestError::Own(reason.to_string()),
        StreamError::Abort(_) => RequestError::Nothing,
    }
}

/// Collects the statistics of members that only computed the prompt.
pub(crate) async fn collect_rest(
    ends: &mut JoinSet<(usize, u64, PartOutcome)>,
    collected: &mut Collected,
    plan: &ActivePlan,
) {
    let until = Instant::now() + REST_TIMEOUT;
    while let Ok(Some(end)) = tokio::time::timeout_at(until.into(), ends.join_next()).await {
        if let Ok((number, sent, end)) = end {
            // The text is there, whatever they answer.
            let _ = note(collected, plan, number, sent, end);
        }
    }
    for (number, (account, share)) in
        (collected.accounts.iter_mut().zip(&collected.shares)).enumerate()
    {
        let generates = number + 1 == plan.placement.members.len();
        if !generates && share.is_none() && account.failure.is_none() {
            account.failure = Some("no answer before the text was there".to_owned());
        }
    }
}

/// The account of the member that generated, which was sent `input_bytes`; `own` if it is this device.
pub(crate) fn account(
    before: &Account,
    received: &ReceivedTokens,
    input_bytes: u64,
    own: bool,
) -> Account {
    let bytes = |(index, &id): (usize, &u32)| {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        Control::Token { index, id }.encoded_len() as u64
    };
    let stats = received.stats.as_ref().map(|stats| stats.prompt);
    Account {
        stats: stats.unwrap_or_default(),
        input_bytes,
        result_bytes: if own {
            0
        } else {
            received.ids.iter().enumerate().map(bytes).sum()
        },
        ..before.clone()
    }
}

/// The only member, which computed a prompt of `tokens` and generated.
pub(crate) fn only_member(
    member: &Candidate,
    tokens: usize,
    received: &ReceivedTokens,
) -> MemberReport {
    let stats = received.stats.as_ref().map(|stats| stats.prompt);
    let computed = Duration::from_micros(stats.unwrap_or_default().compute_us.into());
    // A text is no longer than 16 bits count.
    let tokens = u16::try_from(tokens).unwrap_or(u16::MAX);
    summary::one(member.name.clone(), tokens, computed)
}
