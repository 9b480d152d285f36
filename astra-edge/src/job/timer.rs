//! Deadlines of the blocks of a request, and the time its steps take.

use std::time::{Duration, Instant};

use crate::gather::WaitState;
use astra_model::engine::thread_time;

/// Longest deadline of a request. Any peer on the network can send one, and the compute thread waits for other members until then.
pub const MAX_DEADLINE: Duration = Duration::from_secs(600);

/// Divides the deadline evenly among the blocks: a slow member is waited for, while a member that stopped sending delays the request by
/// at most one block's part, plus the time the link waits for space in its queue.
#[derive(Debug)]
pub(super) struct JobTimer {
    pub(super) start: Instant,
    per_block: Duration,
    pub(super) wait: WaitState,
    /// Processor time of this thread at the start.
    processor_start: Duration,
    /// Processor time of the steps since.
    in_steps: Duration,
}

impl JobTimer {
    pub(super) fn start(deadline: Duration, blocks: usize) -> Self {
        let start = Instant::now();
        // Two parts more than blocks: one to compute the last block, one to send the result.
        let per_block = deadline.min(MAX_DEADLINE) / u32::try_from(blocks + 2).unwrap_or(u32::MAX);
        Self {
            start,
            per_block,
            wait: WaitState {
                deadline: start,
                late: 0,
            },
            processor_start: thread_time(),
            in_steps: Duration::ZERO,
        }
    }

    /// Sets the deadline for the codes of a block.
    pub(super) fn set_deadline(&mut self, block: usize) {
        self.wait.deadline = self.start + self.per_block * (block as u32 + 1);
    }

    /// Runs a step that computes, and adds its time to `sum`.
    pub(super) fn time<T>(&mut self, sum: &mut Duration, step: impl FnOnce() -> T) -> T {
        let (start, processor) = (Instant::now(), thread_time());
        let result = step();
        *sum += start.elapsed();
        self.in_steps += thread_time().saturating_sub(processor);
        result
    }

    /// Processor time of this thread since the start, without the steps.
    pub(super) fn overhead(&self) -> Duration {
        thread_time()
            .saturating_sub(self.processor_start)
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
    fn overhead_is_processor_time_between_steps() {
        let millisecond = Duration::from_millis(1);
        let mut timer = JobTimer::start(Duration::from_secs(1), 12);
        let mut compute = Duration::ZERO;
        timer.time(&mut compute, || spin(30 * millisecond));
        spin(5 * millisecond);
        std::thread::sleep(20 * millisecond);
        let overhead = timer.overhead();
        assert!(compute >= 30 * millisecond, "{compute:?}");
        assert!(overhead >= 5 * millisecond, "{overhead:?}");
        // Without the steps and without the sleep.
        assert!(overhead < 20 * millisecond, "{overhead:?}");
    }

    #[test]
    fn a_deadline_beyond_the_longest_is_the_longest() {
        let mut timer = JobTimer::start(Duration::from_millis(u32::MAX.into()), 10);
        timer.set_deadline(11);
        assert_eq!(timer.wait.deadline - timer.start, MAX_DEADLINE);
    }

    #[test]
    fn blocks_divide_the_deadline_evenly() {
        let mut timer = JobTimer::start(Duration::from_secs(14), 12);
        for block in [0, 5, 11] {
            timer.set_deadline(block);
            let deadline = timer.wait.deadline - timer.start;
            assert_eq!(deadline, Duration::from_secs(block as u64 + 1));
        }
    }
}
