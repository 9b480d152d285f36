//! Whether the computing thread gets on with what it is at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time of the thread's last step, read by whoever watches over it. Neither side waits.
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// Milliseconds from `start` to the last step, and one more; 0 while there is nothing to do.
    last: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// A step of the work at hand begins.
    pub(super) fn beat(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// There is nothing to do.
    pub(super) fn rest(&self) {
        self.last.store(0, Ordering::Relaxed);
    }

    /// Whether the step at hand takes no longer than `limit`, so far.
    pub(super) fn is_regular(&self, limit: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last == 0 || u128::from(self.now().saturating_sub(last)) <= limit.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis())
            .map_or(u64::MAX, |now| now.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_that_does_not_get_on_is_irregular() {
        let pulse = Pulse {
            // A minute ago, as far as the pulse knows.
            start: Instant::now().checked_sub(Duration::from_secs(60)).unwrap(),
            last: AtomicU64::new(0),
        };
        assert!(pulse.is_regular(Duration::ZERO));
        pulse.last.store(1, Ordering::Relaxed);
        assert!(!pulse.is_regular(Duration::from_secs(59)));
        assert!(pulse.is_regular(Duration::from_secs(6000)));
        pulse.beat();
        assert!(pulse.is_regular(Duration::from_secs(59)));
        pulse.rest();
        assert!(pulse.is_regular(Duration::ZERO));
    }
}
