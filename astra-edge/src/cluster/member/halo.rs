//! Halos: features of tokens that other members' rows of a map border on.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_model::engine::{EngineError, slice_mut};
use astra_model::mean::{fill, mean};
use astra_model::partition::{HeadPartition, TokenRange};
use astra_wire::{Control, Halo};

use super::encoding::{Coded, DenseError, Packed};
use crate::cluster::device::Device;
use crate::cluster::device::halo_inbox::ReceivedHalo;
use crate::cluster::device::slot::PlanSlot;
use crate::link::encode;
use crate::plan::Plan;

/// How often it is checked whether a member is still there.
const PRESENCE_CHECK: Duration = Duration::from_millis(50);

/// Features of the tokens that a member's rows need.
pub(crate) struct HaloedFeatures {
    /// `[tokens, D]`: whole rows, halos included.
    pub(crate) features: Vec<f32>,
    /// Tokens whose features did not come; they hold the mean of the own ones.
    pub(crate) missing: usize,
    /// Bytes of the halos sent.
    pub(crate) sent: u64,
}

/// Why a halo is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HaloError {
    /// No request here can need it.
    #[error("halo: found plan {plan:016x}, expected one that this device is a member of")]
    UnknownPlan {
        /// The plan.
        plan: u64,
    },
    /// Tokens that its sender does not own.
    #[error("halo: found {tokens} tokens from {first} on, expected tokens of member {member}")]
    Foreign {
        /// The sender.
        member: u8,
        /// First token.
        first: u16,
        /// Tokens.
        tokens: usize,
    },
    /// Not features of whole tokens.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// A token range that does not fit the plan or the features: an error of this program.
    #[error("halo: found {found} values of own tokens, expected tokens {first} to {end}")]
    Own {
        /// Values there are.
        found: usize,
        /// First token wanted.
        first: usize,
        /// One past the last.
        end: usize,
    },
    /// The coordinator cancelled the request.
    #[error("the request was cancelled")]
    Cancelled,
    /// Buffers that do not fit each other: an error of this program.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The message contradicts itself.
    #[error(transparent)]
    Emit(#[from] astra_wire::EmitError),
}

/// Keeps a received halo until its request needs it.
///
/// # Errors
/// This device is not a member of its plan, or the tokens are not its sender's.
pub(crate) fn receive(device: &Device, halo: &Halo<'_>) -> Result<(), HaloError> {
    let plan = halo.plan;
    let slot = device
        .slots
        .find(plan)
        .ok_or(HaloError::UnknownPlan { plan })?;
    let received = decode(halo, &slot.plan, device.shape().hidden)?;
    device.halos.keep(received);
    Ok(())
}

/// The features of a halo of `plan`; `hidden` is D.
fn decode(halo: &Halo<'_>, plan: &Plan, hidden: usize) -> Result<ReceivedHalo, HaloError> {
    let coded = Coded {
        encoding: halo.encoding,
        values: halo.features,
        scales: halo.scales,
    };
    let (member, first, tokens) = (halo.member, halo.first_token, coded.tokens(hidden));
    let range = plan.ranges.get(usize::from(member));
    let end = usize::from(first) + tokens;
    let own = range.is_some_and(|range| first >= range.first && end <= range.end());
    if !own {
        return Err(HaloError::Foreign {
            member,
            first,
            tokens,
        });
    }
    Ok(ReceivedHalo {
        plan: halo.plan,
        request: halo.request,
        member,
        first_token: first,
        features: coded.features(tokens, hidden)?,
    })
}

/// Sends the others what their rows need of `own`, `[t, D]`, and waits until `until` for what this member's rows need.
///
/// # Errors
/// The own features are not of this plan, cannot be sent, or the request was cancelled.
pub(crate) async fn exchange(
    device: &Arc<Device>,
    slot: &PlanSlot,
    rows: &HeadPartition,
    request: u32,
    own: &[f32],
    until: Instant,
) -> Result<HaloedFeatures, HaloError> {
    let sent = send(device, slot, rows, request, own, until)?;
    let hidden = device.shape().hidden;
    let wanted = rows.tokens(slot.me);
    let mut haloed = HaloedFeatures {
        features: vec![0.0; wanted.len() * hidden],
        missing: 0,
        sent,
    };
    let mut mean_row = None;
    for (member, range) in slot.plan.ranges.iter().enumerate() {
        let tokens = rows.tokens_in(slot.me, *range);
        if tokens.is_empty() {
            continue;
        }
        let at = (tokens.start - wanted.start) * hidden..(tokens.end - wanted.start) * hidden;
        let place = slice_mut("features of a member's rows", &mut haloed.features, at)?;
        if member == slot.me {
            place.copy_from_slice(own_rows(own, range, &tokens, hidden)?);
            continue;
        }
        let received = wait(device, slot, request, member, until).await?;
        let fits = |halo: &ReceivedHalo| {
            usize::from(halo.first_token) == tokens.start && halo.features.len() == place.len()
        };
        match received.filter(fits) {
            Some(halo) => place.copy_from_slice(&halo.features),
            None => {
                haloed.missing += tokens.len();
                let row = mean_row.get_or_insert_with(|| mean(own.chunks_exact(hidden.max(1))));
                let filled = row.as_ref().and_then(|row| fill(place, row));
                filled.ok_or_else(|| foreign(own, &tokens))?;
            }
        }
    }
    Ok(haloed)
}

/// Sends each other member the tokens that its rows need, without waiting for replies; returns the bytes.
fn send(
    device: &Arc<Device>,
    slot: &PlanSlot,
    rows: &HeadPartition,
    request: u32,
    own: &[f32],
    until: Instant,
) -> Result<u64, HaloError> {
    let hidden = device.shape().hidden;
    let exact = slot.plan.rung == 0;
    let plan = slot.plan.id;
    let range = slot.range().ok_or(HaloError::UnknownPlan { plan })?;
    let mut sent = 0;
    for (member, other) in slot.members.iter().enumerate() {
        let tokens = rows.tokens_in(member, range);
        if member == slot.me || tokens.is_empty() {
            continue;
        }
        let rows = own_rows(own, &range, &tokens, hidden)?;
        let packed = Packed::halo(rows, hidden, exact)?;
        let halo = Control::Halo(Halo {
            plan,
            request,
            // At most 16 members, and tokens are numbered in 16 bits.
            member: slot.me as u8,
            first_token: tokens.start as u16,
            encoding: packed.encoding,
            features: &packed.values,
            scales: &packed.scales,
        });
        let message = encode(slot.plan.version, &halo)?;
        sent += message.len() as u64;
        let (device, other) = (Arc::clone(device), *other);
        tokio::spawn(async move {
            let left = until.saturating_duration_since(Instant::now());
            // A receiver without it reports the tokens as missing.
            let _ = device.link().request(other, "", message, left).await;
        });
    }
    Ok(sent)
}

/// What `member` sent; `None` where it left, or nothing arrived before `until`.
async fn wait(
    device: &Device,
    slot: &PlanSlot,
    request: u32,
    member: usize,
    until: Instant,
) -> Result<Option<ReceivedHalo>, HaloError> {
    loop {
        let arrival = device.halos.arrivals.notified();
        tokio::pin!(arrival);
        // Before the inbox is read, so that no arrival in between is missed.
        arrival.as_mut().enable();
        if let Some(halo) = device.halos.take(slot.plan.id, request, member) {
            return Ok(Some(halo));
        }
        let gather = slot.gather();
        let gather = gather.as_deref();
        if gather.is_some_and(|gather| gather.is_cancelled(request)) {
            return Err(HaloError::Cancelled);
        }
        let now = Instant::now();
        if now >= until || gather.is_some_and(|gather| gather.has_left(member)) {
            return Ok(None);
        }
        let _ = tokio::time::timeout_at(until.min(now + PRESENCE_CHECK).into(), arrival).await;
    }
}

/// Rows of `own`, `[t, D]`, the features of `range`.
fn own_rows<'a>(
    own: &'a [f32],
    range: &TokenRange,
    tokens: &Range<usize>,
    hidden: usize,
) -> Result<&'a [f32], HaloError> {
    let first = usize::from(range.first);
    let rows = tokens
        .start
        .checked_sub(first)
        .zip(tokens.end.checked_sub(first));
    let rows = rows.and_then(|(start, end)| own.get(start * hidden..end * hidden));
    rows.ok_or_else(|| foreign(own, tokens))
}

fn foreign(own: &[f32], tokens: &Range<usize>) -> HaloError {
    HaloError::Own {
        found: own.len(),
        first: tokens.start,
        end: tokens.end,
    }
}

#[cfg(test)]
mod tests {
    use astra_wire::Encoding;

    use super::*;

    const HIDDEN: usize = 2;

    #[test]
    fn halos_hold_tokens_of_their_sender_alone() {
        let range = |first, tokens| TokenRange { first, tokens };
        let plan = Plan {
            id: 7,
            version: astra_wire::VERSION,
            epoch: 1,
            rung: 0,
            causal: false,
            ranges: vec![range(0, 3), range(3, 5)],
        };
        let decode = |member, first_token, tokens: usize| {
            let features = vec![0; tokens * HIDDEN * 4];
            let halo = Halo {
                plan: 7,
                request: 0,
                member,
                first_token,
                encoding: Encoding::Float32,
                features: &features,
                scales: &[],
            };
            decode(&halo, &plan, HIDDEN)
        };
        for (member, first, tokens) in
            [(1, 2, 1), (1, 3, 6), (0, 0, 4), (2, 0, 1), (1, u16::MAX, 9)]
        {
            let refused = decode(member, first, tokens);
            assert!(
                matches!(refused, Err(HaloError::Foreign { .. })),
                "{member} {first} {tokens}"
            );
        }
        let whole = decode(1, 3, 5).unwrap();
        assert_eq!((whole.member, whole.features.len()), (1, 5 * HIDDEN));
        decode(0, 2, 1).unwrap();
    }
}
