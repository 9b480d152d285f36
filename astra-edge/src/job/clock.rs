//! What time a request has, and where it goes.

use std::time::{Duration, Instant};

use crate::gather::Patience;
use astra_model::engine::thread_time;

/// The deadline, dealt evenly over the blocks: a member that is merely slow is waited for, one that fell silent costs the
/// request no more than one block's share of waiting for its codes, and as long as the link waits for room for ours.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) start: Instant,
    share: Duration,
    pub(super) patience: Patience,
    /// Processor time of this thread at the start.
    begun: Duration,
    /// And of the steps since.
    in_steps: Duration,
}

impl Clock {
    pub(super) fn start(deadline: Duration, blocks: usize) -> Self {
        let start = Instant::now();
        // Two shares more than blocks: one to compute the last block in, one for the result's way back.
        let share = deadline / u32::try_from(blocks + 2).unwrap_or(u32::MAX);
        Self {
            start,
            share,
            patience: Patience {
                until: start,
                late: 0,
            },
            begun: thread_time(),
            in_steps: Duration::ZERO,
        }
    }

    pub(super) fn set_patience(&mut self, block: usize) {
        self.patience.until = self.start + self.share * (block as u32 + 1);
    }

    /// Runs a step that computes, and adds what it took to a sum.
    pub(super) fn time<T>(&mut self, sum: &mut Duration, step: impl FnOnce() -> T) -> T {
        let (start, processor) = (Instant::now(), thread_time());
        let result = step();
        *sum += start.elapsed();
        self.in_steps += thread_time().saturating_sub(processor);
        result
    }

    /// Processor time of this thread since the start, steps apart.
    pub(super) fn own(&self) -> Duration {
        thread_time()
            .saturating_sub(self.begun)
            .saturating_sub(self.in_steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let start = thread_time();
        while thread_time().saturating_sub(start) < time {}
    }

    #[test]
    fn own_time_is_what_the_processor_did_between_steps() {
        let millisecond = Duration::from_millis(1);
        let mut clock = Clock::start(Duration::from_secs(1), 12);
        let mut compute = Duration::ZERO;
        clock.time(&mut compute, || spin(30 * millisecond));
        spin(5 * millisecond);
        std::thread::sleep(20 * millisecond);
        let own = clock.own();
        assert!(compute >= 30 * millisecond, "{compute:?}");
        assert!(own >= 5 * millisecond, "{own:?}");
        // Neither the steps nor what was slept, however late the sleep ends.
        assert!(own < 20 * millisecond, "{own:?}");
    }

    #[test]
    fn every_block_has_an_even_share_of_the_deadline() {
        let mut clock = Clock::start(Duration::from_secs(14), 12);
        for block in [0, 5, 11] {
            clock.set_patience(block);
            let until = clock.patience.until - clock.start;
            assert_eq!(until, Duration::from_secs(block as u64 + 1));
        }
    }
}
