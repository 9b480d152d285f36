//! Halos: features of tokens that other members' rows of a map border on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use astra_wire::{Control, Halo};
use tokio::sync::Notify;

use super::dense::{Coded, DenseError, Packed};
use super::device::{Device, encode};
use super::seat::Seat;
use crate::plan::{Rows, TokenRange};
use crate::simulate::mean;

/// Halos kept for a request that has not come to them: from all other members of as many plans as a device can be in.
const KEPT: usize = 128;
/// Between two looks whether a member is still there.
const LOOK: Duration = Duration::from_millis(50);

/// Halos that came and wait to be used.
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

impl Halos {
    /// Keeps a halo until its request comes to it. `hidden` is D.
    ///
    /// # Errors
    /// It is no whole number of tokens.
    pub(super) fn keep(&self, halo: &Halo<'_>, hidden: usize) -> Result<(), DenseError> {
        let coded = Coded {
            encoding: halo.encoding,
            values: halo.features,
            scales: halo.scales,
        };
        let features = coded.features(coded.tokens(hidden), hidden)?;
        let mut came = self.lock();
        if came.len() >= KEPT {
            came.remove(0);
        }
        came.push(Came {
            plan: halo.plan,
            request: halo.request,
            member: halo.member,
            first_token: halo.first_token,
            features,
        });
        drop(came);
        self.news.notify_waiters();
        Ok(())
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
        if seat.gather.is_cancelled(request) {
            return Err("the request was given up".to_owned());
        }
        let now = Instant::now();
        if now >= until || seat.gather.has_left(member) {
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
