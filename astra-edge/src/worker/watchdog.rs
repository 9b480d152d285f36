//! Detects a compute thread that makes no progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use astra_model::engine::Heartbeat;

/// Time of the compute thread's last step, written by the thread and read by the node without locks.
#[derive(Debug)]
pub(super) struct Watchdog {
    start: Instant,
    /// Milliseconds from `start` to the last step, plus one; 0 while idle.
    last: AtomicU64,
    /// Milliseconds from `start`, plus one, until which the thread may wait for other members; 0 if it may not.
    waits_until: AtomicU64,
}

impl Watchdog {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            waits_until: AtomicU64::new(0),
        }
    }

    /// A heartbeat that records steps.
    pub(super) fn heartbeat(self: &Arc<Self>) -> Heartbeat {
        let watchdog = Arc::clone(self);
        Heartbeat::new(move || watchdog.beat())
    }

    /// Allows the current command to wait for other members for `timeout` from now.
    pub(super) fn allow_waiting(&self, timeout: Duration) {
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.waits_until
            .store(self.now().saturating_add(timeout), Ordering::Relaxed);
    }

    /// Records that a step begins.
    pub(super) fn beat(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Records that no command is running.
    pub(super) fn idle(&self) {
        self.waits_until.store(0, Ordering::Relaxed);
        self.last.store(0, Ordering::Relaxed);
    }

    /// Whether the thread is idle, or its current step has taken at most `limit` so far, not counting allowed waiting.
    pub(super) fn makes_progress(&self, limit: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let since = last.max(self.waits_until.load(Ordering::Relaxed));
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

    /// A watchdog that was started a minute ago.
    fn minute_old() -> Watchdog {
        Watchdog {
            start: Instant::now().checked_sub(Duration::from_secs(60)).unwrap(),
            ..Watchdog::new()
        }
    }

    #[test]
    fn only_a_step_over_the_limit_is_no_progress() {
        let watchdog = minute_old();
        assert!(watchdog.makes_progress(Duration::ZERO));
        watchdog.last.store(1, Ordering::Relaxed);
        assert!(!watchdog.makes_progress(Duration::from_secs(59)));
        assert!(watchdog.makes_progress(Duration::from_secs(6000)));
        watchdog.beat();
        assert!(watchdog.makes_progress(Duration::from_secs(59)));
        watchdog.idle();
        assert!(watchdog.makes_progress(Duration::ZERO));
    }

    #[test]
    fn the_heartbeat_records_steps() {
        let watchdog = Arc::new(minute_old());
        watchdog.last.store(1, Ordering::Relaxed);
        let heartbeat = watchdog.heartbeat();
        assert!(!watchdog.makes_progress(Duration::from_secs(59)));
        heartbeat.beat();
        assert!(watchdog.makes_progress(Duration::from_secs(59)));
    }

    #[test]
    fn waiting_until_the_deadline_is_progress() {
        let watchdog = minute_old();
        watchdog.last.store(1, Ordering::Relaxed);
        watchdog.allow_waiting(Duration::from_secs(900));
        assert!(watchdog.makes_progress(Duration::ZERO));
        // The next command does not wait for other members.
        watchdog.idle();
        watchdog.last.store(1, Ordering::Relaxed);
        assert!(!watchdog.makes_progress(Duration::from_secs(59)));
    }
}
