//! Features received for this device's rows of maps, until their request uses them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Received halos: of each member of each plan that this device is in, the newest.
#[derive(Default)]
pub(crate) struct HaloInbox {
    received: Mutex<Vec<ReceivedHalo>>,
    /// Notified when a halo is kept.
    pub(crate) arrivals: Notify,
}

/// Features of a member's tokens that border on this device's rows.
#[derive(Debug)]
pub(crate) struct ReceivedHalo {
    pub(crate) plan: u64,
    pub(crate) request: u32,
    pub(crate) member: u8,
    pub(crate) first_token: u16,
    /// `[tokens, D]`
    pub(crate) features: Vec<f32>,
}

impl HaloInbox {
    /// Keeps a halo, unless one of a later request of the same member is there: a member's requests come one after another.
    pub(crate) fn keep(&self, halo: ReceivedHalo) {
        let mut received = self.lock();
        let same = |other: &ReceivedHalo| other.plan == halo.plan && other.member == halo.member;
        let newer = |other: &ReceivedHalo| same(other) && other.request > halo.request;
        if received.iter().any(newer) {
            return;
        }
        received.retain(|other| !same(other));
        received.push(halo);
        drop(received);
        self.arrivals.notify_waiters();
    }

    /// Drops those of a plan.
    pub(crate) fn forget(&self, plan: u64) {
        self.lock().retain(|halo| halo.plan != plan);
    }

    /// Takes what `member` sent for a request, and drops what it sent for earlier ones of the plan.
    pub(crate) fn take(&self, plan: u64, request: u32, member: usize) -> Option<ReceivedHalo> {
        let mut received = self.lock();
        let from = |halo: &ReceivedHalo| halo.plan == plan && usize::from(halo.member) == member;
        received.retain(|halo| !from(halo) || halo.request >= request);
        let place = received
            .iter()
            .position(|halo| from(halo) && halo.request == request)?;
        Some(received.remove(place))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ReceivedHalo>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_halo_is_kept_for_each_member_of_a_plan() {
        let inbox = HaloInbox::default();
        let keep = |request| {
            inbox.keep(ReceivedHalo {
                plan: 7,
                request,
                member: 1,
                first_token: 3,
                features: vec![0.0; 2],
            });
        };
        let requests = || -> Vec<u32> { inbox.lock().iter().map(|halo| halo.request).collect() };
        for request in [3, 5, 4, 5] {
            keep(request);
        }
        assert_eq!(requests(), [5]);
        assert!(inbox.take(7, 4, 1).is_none());
        assert!(inbox.take(7, 5, 1).is_some());
        keep(6);
        inbox.forget(8);
        assert_eq!(requests(), [6]);
        inbox.forget(7);
        assert!(requests().is_empty());
    }
}
