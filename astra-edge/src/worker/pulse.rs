//! Whether the computing thread gets on with what it is at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use astra_model::engine::Beat;

/// The time of the thread's last step, read by whoever watches over it. Neither side waits.
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// Milliseconds from `start` to the last step, and one more; 0 while there is nothing to do.
    last: AtomicU64,
    /// The same of the time up to which it may be waiting for other members.
    waits: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// What beats it from elsewhere.
    pub(super) fn beats(self: &Arc<Self>) -> Beat {
        let pulse = Arc::clone(self);
        Beat::new(move || pulse.beat())
    }

    /// The work at hand may wait for other members, for so long from now.
    pub(super) fn may_wait(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.waits
            .store(self.now().saturating_add(time), Ordering::Relaxed);
    }

    /// A step of the work at hand begins.
    pub(super) fn beat(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// There is nothing to do.
    pub(super) fn rest(&self) {
        self.waits.store(0, Ordering::Relaxed);
        self.last.store(0, Ordering::Relaxed);
    }

    /// Whether the step at hand takes no longer than `limit`, so far, beyond what it may wait.
    pub(super) fn is_regular(&self, limit: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let since = last.max(self.waits.load(Ordering::Relaxed));
        last == 0 || u128::from(self.now().saturating_sub(since)) <= limit.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis())
            .map_or(u64::MAX, |now| now.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute old, as far as it knows.
    fn old() -> Pulse {
        Pulse {
            start: Instant::now().checked_sub(Duration::from_secs(60)).unwrap(),
            ..Pulse::new()
        }
    }

    #[test]
    fn only_work_that_does_not_get_on_is_irregular() {
        let pulse = old();
        assert!(pulse.is_regular(Duration::ZERO));
        pulse.last.store(1, Ordering::Relaxed);
        assert!(!pulse.is_regular(Duration::from_secs(59)));
        assert!(pulse.is_regular(Duration::from_secs(6000)));
        pulse.beat();
        assert!(pulse.is_regular(Duration::from_secs(59)));
        pulse.rest();
        assert!(pulse.is_regular(Duration::ZERO));
    }

    #[test]
    fn steps_elsewhere_are_steps() {
        let pulse = Arc::new(old());
        pulse.last.store(1, Ordering::Relaxed);
        let model = pulse.beats();
        assert!(!pulse.is_regular(Duration::from_secs(59)));
        model.beat();
        assert!(pulse.is_regular(Duration::from_secs(59)));
    }

    #[test]
    fn waiting_for_others_until_the_deadline_is_getting_on() {
        let pulse = old();
        pulse.last.store(1, Ordering::Relaxed);
        pulse.may_wait(Duration::from_secs(900));
        assert!(pulse.is_regular(Duration::ZERO));
        // What comes next does not wait for anybody.
        pulse.rest();
        pulse.last.store(1, Ordering::Relaxed);
        assert!(!pulse.is_regular(Duration::from_secs(59)));
    }
}
