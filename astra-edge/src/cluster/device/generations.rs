//! Generations that run here for other devices' requests, so that these devices can cancel them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use astra_wire::SECRET;

/// Generations that run here: one at a time, except for a moment between two.
#[derive(Default)]
pub struct RunningGenerations {
    running: Mutex<Vec<Running>>,
}

struct Running {
    plan: u64,
    request: u32,
    secret: [u8; SECRET],
    stop: Arc<AtomicBool>,
}

/// A running generation; dropping it removes it.
pub struct Registered<'a> {
    all: &'a RunningGenerations,
    stop: Arc<AtomicBool>,
}

impl RunningGenerations {
    /// Registers a generation that begins, which only a message with this secret cancels.
    pub fn begin(&self, plan: u64, request: u32, secret: [u8; SECRET]) -> Registered<'_> {
        let stop = Arc::new(AtomicBool::new(false));
        self.lock().push(Running {
            plan,
            request,
            secret,
            stop: Arc::clone(&stop),
        });
        Registered { all: self, stop }
    }

    /// Stops a generation at its next token.
    pub fn cancel(&self, plan: u64, request: u32, secret: [u8; SECRET]) {
        let name = (plan, request, secret);
        self.stop(|running| (running.plan, running.request, running.secret) == name);
    }

    /// Stops the generations of a plan.
    pub(crate) fn cancel_all(&self, plan: u64) {
        self.stop(|running| running.plan == plan);
    }

    fn stop(&self, is_meant: impl Fn(&Running) -> bool) {
        for running in self.lock().iter().filter(|running| is_meant(running)) {
            running.stop.store(true, Ordering::Release);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered<'_> {
    /// The flag that stops it.
    pub fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut running = self.all.lock();
        running.retain(|other| !Arc::ptr_eq(&other.stop, &self.stop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_cancelled_by_its_name_while_it_runs() {
        let all = RunningGenerations::default();
        let (secret, wrong) = ([1; SECRET], [2; SECRET]);
        let one = all.begin(1, 7, secret);
        let other = all.begin(1, 8, secret);
        all.cancel(1, 7, secret);
        all.cancel(2, 8, secret);
        all.cancel(1, 8, wrong);
        assert!(one.stop().load(Ordering::Acquire));
        assert!(!other.stop().load(Ordering::Acquire));
        all.cancel_all(2);
        assert!(!other.stop().load(Ordering::Acquire));
        all.cancel_all(1);
        assert!(other.stop().load(Ordering::Acquire));
        drop(one);
        assert_eq!(all.lock().len(), 1);
        drop(other);
        assert_eq!(all.lock().len(), 0);
    }
}
