//! Halos: features of tokens that other members' rows of a map border on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use astra_wire::{Control, Halo};
use tokio::sync::Notify;

use super::dense::{Coded, DenseError, Packed};
use super::device::{Device, encode};
use super::seat::Seat;
use crate::plan::{Plan, Rows, TokenRange};
use crate::simulate::mean;

/// Between two looks whether a member is still there.
const LOOK: Duration = Duration::from_millis(50);

/// Halos that came and wait to be used: one of each member of each plan that this device is in, at most.
#[derive(Default)]
pub(super) struct Halos {
    came: Mutex<Vec<Came>>,
    news: Notify,
}

struct Came {
    plan: u64,
    request: u32,
    member: u8,
    first_token: u16,
    features: Vec<f32>,
}

/// Features of the tokens a member looks at.
pub(super) struct Surroundings {
    /// `[tokens, D]`: whole rows, halos included.
    pub(super) features: Vec<f32>,
    /// Tokens whose features did not come; they hold the mean of the own ones.
    pub(super) missing: usize,
    /// Bytes of the halos sent.
    pub(super) sent: u64,
}

/// Why a halo is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum HaloError {
    /// Nobody waits for it.
    #[error("a halo of plan {plan:016x}, in which this device has no place")]
    NoPlace {
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
    /// No features.
    #[error(transparent)]
    Dense(#[from] DenseError),
}

impl Device {
    /// Keeps a halo until its request comes to it.
    ///
    /// # Errors
    /// This device has no place in its plan, or it is none of its sender's tokens.
    pub(super) fn take_halo(&self, halo: &Halo<'_>) -> Result<(), HaloError> {
        let plan = halo.plan;
        let seat = self.seats.find(plan).ok_or(HaloError::NoPlace { plan })?;
        self.halos.keep(halo, &seat.plan, self.shape().hidden)
    }
}

impl Halos {
    /// Keeps a halo of a plan; `hidden` is D. Of each member there is one, the newest: its requests come one after another.
    fn keep(&self, halo: &Halo<'_>, plan: &Plan, hidden: usize) -> Result<(), HaloError> {
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
        let features = coded.features(tokens, hidden)?;
        let mut came = self.lock();
        let same = |other: &Came| other.plan == halo.plan && other.member == member;
        if came
            .iter()
            .any(|other| same(other) && other.request > halo.request)
        {
            return Ok(());
        }
        came.retain(|other| !same(other));
        came.push(Came {
            plan: halo.plan,
            request: halo.request,
            member,
            first_token: first,
            features,
        });
        drop(came);
        self.news.notify_waiters();
        Ok(())
    }

    /// Drops those of a plan.
    pub(super) fn forget(&self, plan: u64) {
        self.lock().retain(|halo| halo.plan != plan);
    }

    /// Takes what `member` sent for a request, and drops what it sent for earlier ones of the plan.
    fn take(&self, plan: u64, request: u32, member: usize) -> Option<Came> {
        let mut came = self.lock();
        let from = |halo: &Came| halo.plan == plan && usize::from(halo.member) == member;
        came.retain(|halo| !from(halo) || halo.request >= request);
        let place = came
            .iter()
            .position(|halo| from(halo) && halo.request == request)?;
        Some(came.remove(place))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Came>> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the others what their rows need of `own`, `[t, D]`, and waits until `until` for what this member's rows need.
///
/// # Errors
/// In words: the features cannot be sent as they are, or the request was given up.
pub(super) async fn exchange(
    device: &Arc<Device>,
    seat: &Seat,
    rows: &Rows,
    request: u32,
    own: &[f32],
    until: Instant,
) -> Result<Surroundings, String> {
    let sent = send(device, seat, rows, request, own, until).map_err(|error| error.to_string())?;
    let hidden = device.shape().hidden;
    let wanted = rows.tokens(seat.me);
    let mut around = Surroundings {
        features: vec![0.0; wanted.len() * hidden],
        missing: 0,
        sent,
    };
    for (member, range) in seat.plan.ranges.iter().enumerate() {
        let tokens = rows.tokens_in(seat.me, *range);
        if tokens.is_empty() {
            continue;
        }
        let at = (tokens.start - wanted.start) * hidden..(tokens.end - wanted.start) * hidden;
        let place = around.features.get_mut(at).unwrap_or_default();
        if member == seat.me {
            let first = (tokens.start - usize::from(range.first)) * hidden;
            let part = own.get(first..first + place.len());
            place.copy_from_slice(part.ok_or("features of another number of tokens")?);
            continue;
        }
        let came = wait(device, seat, request, member, until).await?;
        let fits = |halo: &Came| {
            usize::from(halo.first_token) == tokens.start && halo.features.len() == place.len()
        };
        match came.filter(fits) {
            Some(halo) => place.copy_from_slice(&halo.features),
            None => {
                around.missing += tokens.len();
                fill(place, own, hidden);
            }
        }
    }
    Ok(around)
}

/// Sends, and does not wait; returns the bytes.
fn send(
    device: &Arc<Device>,
    seat: &Seat,
    rows: &Rows,
    request: u32,
    own: &[f32],
    until: Instant,
) -> Result<u64, DenseError> {
    let hidden = device.shape().hidden;
    let exact = seat.plan.rung == 0;
    let range = seat.range().unwrap_or(TokenRange {
        first: 0,
        tokens: 0,
    });
    let mut sent = 0;
    for (member, other) in seat.members.iter().enumerate() {
        let tokens = rows.tokens_in(member, range);
        if member == seat.me || tokens.is_empty() {
            continue;
        }
        let first = usize::from(range.first);
        let part = own.get((tokens.start - first) * hidden..(tokens.end - first) * hidden);
        let packed = Packed::halo(part.unwrap_or_default(), hidden, exact)?;
        let message = encode(&Control::Halo(Halo {
            plan: seat.plan.id,
            request,
            // At most 16 members, and tokens are numbered in 16 bits.
            member: seat.me as u8,
            first_token: tokens.start as u16,
            encoding: packed.encoding,
            features: &packed.values,
            scales: &packed.scales,
        }))?;
        sent += message.len() as u64;
        let (device, other) = (Arc::clone(device), *other);
        tokio::spawn(async move {
            let left = until.saturating_duration_since(Instant::now());
            // Who does not get it says so: the tokens are missing in its rows.
            let _ = device.link.ask_control(other, "", message, left).await;
        });
    }
    Ok(sent)
}

/// What `member` sent; `None` where it left, or nothing came in time.
async fn wait(
    device: &Device,
    seat: &Seat,
    request: u32,
    member: usize,
    until: Instant,
) -> Result<Option<Came>, String> {
    loop {
        let news = device.halos.news.notified();
        tokio::pin!(news);
        // Before looking, so that nothing that comes in between is missed.
        news.as_mut().enable();
        if let Some(halo) = device.halos.take(seat.plan.id, request, member) {
            return Ok(Some(halo));
        }
        let gather = seat.gather();
        let gather = gather.as_deref();
        if gather.is_some_and(|gather| gather.is_cancelled(request)) {
            return Err("the request was given up".to_owned());
        }
        let now = Instant::now();
        if now >= until || gather.is_some_and(|gather| gather.has_left(member)) {
            return Ok(None);
        }
        let _ = tokio::time::timeout_at(until.min(now + LOOK).into(), news).await;
    }
}

/// The mean of the own features says the least about what is not there.
fn fill(place: &mut [f32], own: &[f32], hidden: usize) {
    let rows: Vec<&[f32]> = own.chunks_exact(hidden.max(1)).collect();
    let mean = mean(&rows);
    for row in place.chunks_exact_mut(mean.len().max(1)) {
        row.copy_from_slice(&mean);
    }
}

#[cfg(test)]
mod tests {
    use astra_wire::Encoding;

    use super::*;

    const HIDDEN: usize = 2;

    fn plan() -> Plan {
        let range = |first, tokens| TokenRange { first, tokens };
        Plan {
            id: 7,
            epoch: 1,
            rung: 0,
            causal: false,
            ranges: vec![range(0, 3), range(3, 5)],
        }
    }

    fn halo(request: u32, member: u8, first_token: u16, features: &[u8]) -> Halo<'_> {
        Halo {
            plan: 7,
            request,
            member,
            first_token,
            encoding: Encoding::Float32,
            features,
            scales: &[],
        }
    }

    #[test]
    fn halos_are_of_their_sender_s_tokens_and_no_more_than_those() {
        let halos = Halos::default();
        let keep = |member, first, tokens: usize| {
            let features = vec![0; tokens * HIDDEN * 4];
            halos.keep(&halo(0, member, first, &features), &plan(), HIDDEN)
        };
        for (member, first, tokens) in
            [(1, 2, 1), (1, 3, 6), (0, 0, 4), (2, 0, 1), (1, u16::MAX, 9)]
        {
            let refused = keep(member, first, tokens);
            assert!(
                matches!(refused, Err(HaloError::Foreign { .. })),
                "{member} {first} {tokens}"
            );
        }
        assert!(halos.lock().is_empty());
        keep(1, 3, 5).unwrap();
        keep(0, 2, 1).unwrap();
        assert_eq!(halos.lock().len(), 2);
    }

    #[test]
    fn one_halo_waits_for_each_member_of_a_plan() {
        let halos = Halos::default();
        let features = [0; HIDDEN * 4];
        for request in [3, 5, 4, 5] {
            let halo = halo(request, 1, 3, &features);
            halos.keep(&halo, &plan(), HIDDEN).unwrap();
        }
        let of = |halos: &Halos| -> Vec<u32> { halos.lock().iter().map(|h| h.request).collect() };
        assert_eq!(of(&halos), [5]);
        assert!(halos.take(7, 4, 1).is_none());
        assert!(halos.take(7, 5, 1).is_some());
        halos
            .keep(&halo(6, 1, 3, &features), &plan(), HIDDEN)
            .unwrap();
        halos.forget(8);
        assert_eq!(of(&halos), [6]);
        halos.forget(7);
        assert!(of(&halos).is_empty());
    }
}
